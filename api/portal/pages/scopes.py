"""Scopes in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from catalog.model.catalog import Catalog

OPERATORS = {
    "ops:read": "See loads, rejected records, usage and the audit log of every product.",
    "ops:write": "Start loads, replay or dismiss rejected records, publish withheld loads, erase keys.",
    "keys:admin": "Make, rotate and revoke every API key.",
}
CLASSIFIED = {"confidential": "See confidential properties of {}.", "restricted": "See restricted properties of {}."}


class ExplainedScope(NamedTuple):
    """A scope, and what it lets its holder do."""

    scope: str
    meaning: str


def explain_scopes(scopes: Iterable[str], catalog: Catalog) -> list[ExplainedScope]:
    """Each scope in words; of one that means nothing here, that."""
    known = dict(OPERATORS)
    for product in catalog.products.values():
        for word, text in CLASSIFIED.items():
            known[f"{product.id}:read:{word}"] = text.format(product.name)
        for role in product.roles:
            what = "Read" if role.access == "read" else "Push events to"
            part = " (some records only)" if role.rows else ""
            known[role.scope] = f"{what} {product.name}{part}."
    return [ExplainedScope(scope, known.get(scope, "Nothing here: no product has it.")) for scope in sorted(scopes)]
