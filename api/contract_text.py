"""A contract as callers see it: without what they may not know of."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import yaml

from api.access import Access
from api.views import Views
from catalog.dataset import Product

# Where records come from, and who is limited to what: the operators' business.
INTERNAL_CUSTOMS = frozenset({"input", "rows"})


def show_contract(product: Product, access: Access, views: Views, *, operator: bool) -> dict[str, Any]:
    """The contract's document for a caller.

    What is hidden from it is left out, also where another part speaks of it by name; where records come from is told
    to operators alone.
    """
    document: dict[str, Any] = copy.deepcopy(dict(product.document))
    if not operator:
        document.pop("servers", None)
        drop_customs(document.get("roles"))
    hidden = {
        dataset.name: views.of(dataset, access).hidden if access.sees(dataset.name) else None
        for dataset in product.datasets.values()
    }
    document["schema"] = [part for part in document.get("schema") or [] if hidden.get(part.get("name")) is not None]
    for part in document["schema"]:
        closed = hidden[part["name"]] or frozenset()
        part["properties"] = [p for p in part.get("properties") or [] if p.get("name") not in closed]
        if not operator:
            drop_customs([part])
        if closed:
            drop_mentions(part, closed)
    if any(closed != frozenset() for closed in hidden.values()):
        drop_references(document, hidden)
    return document


def drop_customs(parts: Any) -> None:
    """Takes the operators' custom properties out of these parts."""
    for part in parts or []:
        if isinstance(part.get("customProperties"), list):
            part["customProperties"] = [
                c for c in part["customProperties"] if c.get("property") not in INTERNAL_CUSTOMS
            ]


def drop_mentions(part: dict[str, Any], hidden: frozenset[str]) -> None:
    """Takes the transforms, rules and links that name a hidden property out of a dataset."""
    named = re.compile(r"(?<!\w)(?:" + "|".join(re.escape(name) for name in hidden) + r")(?!\w)")

    def mentions(value: Any) -> bool:
        return named.search(yaml.safe_dump(value, allow_unicode=True)) is not None

    for owner in (part, *part["properties"]):
        for name in ("quality", "relationships"):
            if isinstance(owner.get(name), list):
                owner[name] = [entry for entry in owner[name] if not mentions(entry)]
        for name in ("transformLogic", "transformSourceObjects", "transformDescription"):
            if name in owner and mentions(owner[name]):
                del owner[name]
    if not isinstance(part.get("customProperties"), list):
        return
    part["customProperties"] = [custom for custom in part["customProperties"] if not mentions(custom)]


def drop_references(document: dict[str, Any], hidden: Mapping[str, frozenset[str] | None]) -> None:
    """Takes links to, and promises about, what is hidden in other datasets out of a contract; None: all of it."""
    ways = [
        rf"{re.escape(dataset)}(?:\.|/properties/)"
        + ("" if names is None else rf"(?:{'|'.join(map(re.escape, names))})\b")
        for dataset, names in hidden.items()
        if names is None or names
    ]
    named = re.compile(r"(?<![\w.])(?:" + "|".join(ways) + ")")
    if isinstance(document.get("slaProperties"), list):
        document["slaProperties"] = [
            entry for entry in document["slaProperties"] if not named.search(str(entry.get("element")))
        ]
    for part in document["schema"]:
        for owner in (part, *part["properties"]):
            if isinstance(owner.get("relationships"), list):
                owner["relationships"] = [
                    link for link in owner["relationships"] if not named.search(str(link.get("to")))
                ]


def write_yaml(document: dict[str, Any]) -> str:
    """The document as YAML, in its own order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
