"""Who may read and write a product: the roles of its contract, and the records that they are limited to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass

# Scopes of no product: to look after loads and quarantine, and to give keys to others.
OPERATOR_SCOPES = ("ops:read", "ops:write", "keys:admin")


@dataclass(frozen=True)
class RowPredicate:
    """A condition on the records of one dataset, in SQL whose columns are still to be named."""

    parts: tuple[tuple[str, bool], ...]  # (SQL, False) or (property, True), in order

    def render(self, name_column: Callable[[str], str]) -> str:
        """The condition as SQL in parentheses; `name_column` says what a property's column is called there."""
        return "(" + "".join(name_column(text) if is_property else text for text, is_property in self.parts) + ")"

    @property
    def properties(self) -> frozenset[str]:
        """The properties that it looks at."""
        return frozenset(text for text, is_property in self.parts if is_property)


@dataclass(frozen=True)
class Role:
    """What holding a scope allows of a product."""

    scope: str
    access: str  # "read" or "write"
    anonymous: bool = False  # whether everybody has it
    # Dataset -> the records that it is limited to, None for all of them; datasets that are not named are not seen.
    # Without a mapping nothing is limited.
    rows: Mapping[str, RowPredicate | None] | None = None
    rate_limit: str | None = None  # such as 600/minute


def held_roles(roles: Iterable[Role], scopes: Set[str], access: str) -> list[Role]:
    """Those of a product's roles, for reading or for writing, that a holder of the scopes has."""
    return [role for role in roles if role.access == access and (role.anonymous or role.scope in scopes)]


Rows = tuple[tuple[str, RowPredicate | None], ...]


def join_rows(roles: Iterable[Role]) -> Rows | None:
    """What several roles see together: each dataset with its predicates ORed; None where nothing is limited."""
    joined: dict[str, list[RowPredicate] | None] = {}
    for role in roles:
        if role.rows is None:
            return None
        for dataset, predicate in role.rows.items():
            known = joined.setdefault(dataset, [])
            if predicate is None:
                joined[dataset] = None
            elif known is not None and predicate not in known:
                known.append(predicate)
    return tuple((dataset, join_predicates(found)) for dataset, found in sorted(joined.items()))


def join_predicates(predicates: list[RowPredicate] | None) -> RowPredicate | None:
    """One predicate that is met where any of them is."""
    if predicates is None:
        return None
    parts: list[tuple[str, bool]] = []
    for index, predicate in enumerate(predicates):
        parts += [(" OR (" if index else "(", False), *predicate.parts, (")", False)]
    return RowPredicate(tuple(parts))
