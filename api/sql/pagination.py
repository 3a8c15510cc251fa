"""Keyset pagination in SQL: the record of the cursor, and the condition for the records after it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from api.query.cursor import DIGEST_CHARACTERS, KeyPart
from api.query.view import View
from api.sql.keyset import NULLS, VALUES, Order, Part
from api.sql.selection import Age, conditions_of, tables_of
from catalog.model.dataset import Dataset
from runtime.postgres.sql_types import SqlExpression


@dataclass(frozen=True)
class After:
    """What a statement that goes on behind a cursor depends on."""

    nulls: tuple[bool, ...]  # of an order: which values of the record are null
    truncated: tuple[bool, ...]  # of the key: which parts the cursor holds the beginning and the digest of

    @property
    def whole(self) -> bool:
        """Whether the cursor holds all of the key."""
        return not any(self.truncated)


@dataclass(frozen=True)
class Step:
    """One column of an order, and the walk's value of it."""

    column: SqlExpression
    value: object
    descending: bool
    is_null: bool  # whether the walk's value is null
    nullable: bool


def key_values(key: Sequence[KeyPart]) -> dict[str, Any]:
    """The values by which a statement finds a cursor's key: k0, k1, …, and d0, d1, … for shortened values.

    As Postgres wrote them, so it reads them: the statement says of which type each is.
    """
    digests = {f"d{index}": part.digest for index, part in enumerate(key) if part.digest is not None}
    return {f"k{index}": part.text for index, part in enumerate(key)} | digests


def is_keyed(dataset: Dataset, table: sa.FromClause, truncated: Sequence[bool]) -> list[sa.ColumnElement[bool]]:
    """The conditions that a record has the key of the cursor."""
    conditions: list[sa.ColumnElement[bool]] = []
    for index, (name, is_truncated) in enumerate(zip(dataset.key, truncated, strict=True)):
        column = table.c[dataset.properties[name].column]
        value: object = sa.bindparam(f"k{index}", type_=dataset.properties[name].type.sqlalchemy)
        if not is_truncated:
            conditions.append(column == value)
            continue
        utf8, hexadecimal = sa.literal_column("'UTF8'", sa.Text), sa.literal_column("'hex'", sa.Text)
        digest = sa.func.encode(sa.func.sha256(sa.func.convert_to(column, utf8)), hexadecimal)
        short = sa.func.left(digest, sa.literal_column(str(DIGEST_CHARACTERS)))
        conditions += [sa.func.starts_with(column, value), short == sa.bindparam(f"d{index}", type_=sa.Text)]
    return conditions


def properties_not_in_cursor(dataset: Dataset, order: Order, after: After) -> list[str]:
    """The properties of the cursor's record that the cursor does not hold, and that the order depends on."""
    sorted_by = [name for (name, _), is_null in zip(order, after.nulls, strict=True) if not is_null]
    return [name for name in sorted_by if name not in dataset.key] + ([] if after.whole else list(dataset.key))


def find_cursor_record(view: View, order: Order, after: After, *, age: Age) -> sa.CTE | None:
    """What the cursor does not hold of its record: what it is sorted by, and a long key. None where it holds all.

    It is looked for among what the caller may see of the revision that is read: the walk found it there.
    """
    dataset = view.dataset
    columns = [dataset.properties[name].column for name in properties_not_in_cursor(dataset, order, after)]
    if not columns:
        return None
    found = [
        sa.select(*(table.c[column] for column in columns)).where(
            *is_keyed(dataset, table, after.truncated), *conditions_of(view, table, age=age)
        )
        for table in tables_of(view, age=age)
    ]
    return (found[0] if len(found) == 1 else sa.union_all(*found)).limit(sa.literal_column("1")).cte("_place")


def find_key(view: View, truncated: tuple[bool, ...]) -> sa.CTE | None:
    """The whole key that the cursor holds parts of, from any revision; None where it holds all of it."""
    if not any(truncated):
        return None
    dataset = view.dataset
    columns = [dataset.properties[name].column for name in dataset.key]
    found = [
        sa.select(*(table.c[column] for column in columns)).where(*is_keyed(dataset, table, truncated))
        for table in (view.tables.current, view.tables.history)
    ]
    return sa.union_all(*found).limit(sa.literal_column("1")).cte("_place")


def is_cursor_record_found(cursor_record: sa.CTE | None) -> list[sa.ColumnElement[bool]]:
    """The column that says whether the cursor's record was found; none where it is not looked for."""
    return [] if cursor_record is None else [sa.exists().select_from(cursor_record).label("placed")]


def compile_after(
    table: sa.FromClause,
    dataset: Dataset,
    order: Order,
    after: After,
    cursor_record: sa.CTE | None,
    part: Part = None,
) -> sa.ColumnElement[bool]:
    """The condition that a record of the part comes after the cursor's."""
    nulls = after.nulls
    steps = []
    for (name, descending), is_null in zip(order, nulls, strict=True):
        prop = dataset.properties[name]
        in_key = name in dataset.key
        value: object = sa.null()
        if in_key and after.whole:
            value = sa.bindparam(f"k{dataset.key.index(name)}", type_=prop.type.sqlalchemy)
        elif cursor_record is not None and not is_null:
            value = sa.select(cursor_record.c[prop.column]).scalar_subquery()
        steps.append(Step(table.c[prop.column], value, descending, is_null, not in_key))
    if part is NULLS:
        # All of them come after what has a value; after a null, what follows in the order decides.
        return comes_after(steps[1:]) if nulls[0] else sa.true()
    if part is VALUES:
        steps[0] = replace(steps[0], nullable=False)
    if not any(step.nullable for step in steps) and len({step.descending for step in steps}) == 1:
        # One direction and no nulls: a row comparison, which an index answers as one range.
        columns, values = sa.tuple_(*(step.column for step in steps)), sa.tuple_(*(step.value for step in steps))
        return columns < values if steps[0].descending else columns > values
    if part is VALUES:
        # Implied by the rest, and a range of an index. As a comparison of rows, since Postgres would take a plain one
        # for the other end of a filter's range, of which it knows nothing, and guess that hardly any record is in it.
        first = steps[0]
        column, value = sa.tuple_(first.column, first.column), sa.tuple_(first.value, first.value)
        bound = column <= value if first.descending else column >= value
        return sa.and_(bound, comes_after(steps))
    return comes_after(steps)


def comes_after(order: Sequence[Step]) -> sa.ColumnElement[bool]:
    """The condition that a row comes after the values of an order in which nulls are last; directions may differ."""
    ways: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for step in order:
        if not step.is_null:
            beyond = step.column < step.value if step.descending else step.column > step.value
            if step.nullable:
                beyond = sa.or_(beyond, step.column.is_(None))
            ways.append(sa.and_(*equal, beyond))
        equal.append(step.column.is_(None) if step.is_null else step.column == step.value)
    # Every column is null: nothing comes after, but equals in what follows, and nothing follows.
    return sa.or_(*ways) if ways else sa.false()
