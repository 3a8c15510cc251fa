"""What the names in a query mean, and what they are made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Origin = tuple[str, str]  # (a table as `TableRead.read` calls it, its column)
Origins = frozenset[Origin]
NOTHING: Origins = frozenset()


def join(parts: Iterable[Origins]) -> Origins:
    """All of these origins."""
    return NOTHING.union(*parts)


@dataclass
class Relation:
    """The columns of one item of FROM."""

    columns: list[tuple[str | None, Origins]]
    rest: Origins = NOTHING  # of columns whose names the text does not have
    bound: dict[str, Origins] = field(default_factory=dict)  # what conditions bind a column to

    def whole(self) -> Origins:
        """What a row is made of."""
        return join([self.rest, *(origins for _, origins in self.columns), *self.bound.values()])

    def find(self, name: str) -> Origins | None:
        """What a column is made of; None where there is none."""
        found = [origins for known, origins in self.columns if known == name]
        return join([*found, self.bound.get(name, NOTHING)]) if found else None

    def rename(self, names: Sequence[str]) -> Relation:
        """The same with other names for its first columns."""
        columns = list(self.columns)
        columns += [(None, self.rest)] * (len(names) - len(columns))
        return Relation([*zip(names, (o for _, o in columns), strict=False), *columns[len(names) :]], self.rest)


@dataclass
class Scope:
    """What names mean at one place of a query."""

    tables: dict[str, Relation]
    defined: Mapping[str, Relation]  # by WITH
    around: Scope | None = None

    def all(self) -> Iterator[Scope]:
        """This scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.around
