"""Sort order, and the rows after a cursor."""

from __future__ import annotations

from catalog.model.dataset import Dataset
from runtime.postgres.sql_types import SqlExpression

Order = tuple[tuple[str, bool], ...]  # (property, descending)


def order_of(dataset: Dataset, sort: Order) -> Order:
    """The sort with the key as its last tiebreaker."""
    named = {name for name, _ in sort}
    return sort + tuple((name, False) for name in dataset.key if name not in named)


def order_by(column: SqlExpression, descending: bool, *, nullable: bool = True) -> SqlExpression:
    """Nulls come last in both directions; saying so where there are none would keep an index from being used."""
    if not descending:
        return column.asc()
    return column.desc().nulls_last() if nullable else column.desc()


# Which records of an order: those whose first property is null, those where it is not, or all of them.
Part = bool | None

NULLS, VALUES = True, False
