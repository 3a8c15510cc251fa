"""The contract document for a caller, with everything hidden from that caller removed."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import yaml

from api.auth.permissions import Access
from api.auth.rule_access import RuleAccess
from api.query.view import Views
from catalog.model.dataset import Dataset, Product

Part: TypeAlias = dict[str, Any]  # of a contract that lint has passed: its keys are the standard's

# Where records come from, and who is limited to what: the operators' business.
INTERNAL_CUSTOM_PROPERTIES = frozenset({"input", "rows"})


def show_contract(
    product: Product, access: Access, views: Views, rule_access_of: Callable[[Dataset], RuleAccess], *, operator: bool
) -> Part:
    """The contract's document for a caller.

    What is hidden from it is left out, also where another part speaks of it by name; where records come from is told
    to operators alone.
    """
    document: Part = copy.deepcopy(dict(product.document))
    if not operator:
        document.pop("servers", None)
        drop_custom_properties(document.get("roles"))
    hidden = {
        dataset.name: views.of(dataset, access).hidden if access.sees(dataset.name) else None
        for dataset in product.datasets.values()
    }
    document["schema"] = [part for part in document.get("schema") or [] if hidden.get(part.get("name")) is not None]
    for part in document["schema"]:
        closed = hidden[part["name"]] or frozenset()
        part["properties"] = [p for p in part.get("properties") or [] if p.get("name") not in closed]
        if not operator:
            drop_custom_properties([part])
        if closed:
            drop_mentions(part, closed)
        drop_rules(part, rule_access_of(product.datasets[part["name"]]))
    if any(closed != frozenset() for closed in hidden.values()):
        drop_references(document, hidden)
    return document


def drop_custom_properties(parts: Any) -> None:
    """Takes the operators' custom properties out of these parts."""
    for part in parts or []:
        if isinstance(part.get("customProperties"), list):
            part["customProperties"] = [
                c for c in part["customProperties"] if c.get("property") not in INTERNAL_CUSTOM_PROPERTIES
            ]


def drop_mentions(part: Part, hidden: frozenset[str]) -> None:
    """Takes the transforms, rules and links that name a hidden property out of a dataset."""
    named = name_any(hidden)
    drop_entries(part, lambda text: named.search(text) is not None, ("quality", "relationships"))


def drop_rules(part: Part, access: RuleAccess) -> None:
    """Takes the rules out of a dataset whose SQL reads what is hidden, here or in other products."""
    for owner, name in ((part, None), *((child, child.get("name")) for child in part["properties"])):
        if isinstance(owner.get("quality"), list):
            owner["quality"] = [
                rule
                for rule in owner["quality"]
                if not isinstance(rule, dict) or access.may_read_query(str(rule.get("query") or ""), name)
            ]


def drop_references(document: Part, hidden: Mapping[str, frozenset[str] | None]) -> None:
    """Takes links to, and whatever speaks of, what is hidden in other datasets out of a contract; None: all of it."""
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
        others = [
            (dataset, names)
            for dataset, names in hidden.items()
            if dataset != part["name"] and (names is None or names)
        ]
        for owner in (part, *part["properties"]):
            if isinstance(owner.get("relationships"), list):
                owner["relationships"] = [
                    link for link in owner["relationships"] if not named.search(str(link.get("to")))
                ]
        drop_entries(part, partial(speaks_of, others), ("quality",))


def speaks_of(others: Sequence[tuple[str, frozenset[str] | None]], text: str) -> bool:
    """Whether a text names one of these datasets, and one of these of its properties where they are not None.

    Queries have the table in one place and its columns in others.
    """
    return any(
        name_any([dataset]).search(text) and (names is None or name_any(names).search(text))
        for dataset, names in others
    )


def name_any(names: Iterable[str]) -> re.Pattern[str]:
    """What finds any of these names as a word."""
    return re.compile(r"(?<!\w)(?:" + "|".join(re.escape(name) for name in names) + r")(?!\w)")


def drop_entries(part: Part, mentions: Callable[[str], bool], spoken: Sequence[str]) -> None:
    """Takes the entries out of a dataset whose text mentions what is hidden; `spoken` are lists of them."""

    def tells(value: object) -> bool:
        return mentions(yaml.safe_dump(value, allow_unicode=True))

    for owner in (part, *part["properties"]):
        for name in (*spoken, "customProperties"):
            if isinstance(owner.get(name), list):
                owner[name] = [entry for entry in owner[name] if not tells(entry)]
        for name in ("transformLogic", "transformSourceObjects", "transformDescription"):
            if name in owner and tells(owner[name]):
                del owner[name]


def write_yaml(document: Part) -> str:
    """The document as YAML, in its own order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
