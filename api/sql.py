"""RecordQuery -> one SQL statement that returns finished JSON. Pure.

A statement is compiled once per shape of a query: its filters' operators, order and properties, but not its values.
Reading the current revision needs the current table only: one statement sees one snapshot, in which the table *is*
the head's revision. A walk that is pinned to a revision reads current and history; filter, order and limit stand in
both branches, and the history branch is skipped by a one-time filter while the revision is still the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from api.params import Filter
from catalog.dataset import Dataset, Property
from catalog.models import DatasetHead
from catalog.tables import REVISION, UNTIL, DatasetTables

DIALECT: sa.Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
NUMBER = "_n"


@dataclass(frozen=True)
class PageShape:
    """Everything about a page that its statement depends on."""

    filters: tuple[Filter, ...]
    order: tuple[tuple[str, bool], ...]  # sort, then what is left of the key
    properties: tuple[str, ...]
    pinned: bool  # whether a revision is named: by a cursor or by `at`
    after: tuple[bool, ...] | None  # for a cursor: which of its values are null


def order_of(dataset: Dataset, sort: tuple[tuple[str, bool], ...]) -> tuple[tuple[str, bool], ...]:
    """The sort with the key as its last tiebreaker."""
    named = {name for name, _ in sort}
    return sort + tuple((name, False) for name in dataset.key if name not in named)


def compile_page(tables: DatasetTables, shape: PageShape) -> str:
    """The statement of a page.

    Gives one row: revision, oldest revision, records found (one more than `limit` where there is a next page), the
    records as JSON separated by commas, and the last record's order values as a JSON array of text.
    """
    dataset = tables.dataset
    branches = [branch(tables, shape, tables.current)]
    if shape.pinned:
        branches.append(branch(tables, shape, tables.history))
    if len(branches) == 1:
        page = branches[0].subquery("page")
    else:
        both = sa.union_all(*(sa.select(b.subquery()) for b in branches)).subquery("both")
        ordering = [order_by(both.c[name], descending) for name, descending in columns_of(dataset, shape.order)]
        page = sa.select(both).order_by(*ordering).limit(sa.bindparam("fetch", type_=sa.Integer)).subquery("page")
    last = sa.func.json_build_array(*(sa.cast(page.c[c], sa.Text) for c, _ in columns_of(dataset, shape.order)))
    limit = sa.bindparam("limit", type_=sa.Integer)
    rows = (
        sa.select(
            sa.func.row_number().over().label(NUMBER),
            document_of(page, [dataset.properties[name] for name in shape.properties]).label("json"),
            sa.cast(last, sa.Text).label("last"),
        )
        .select_from(page)
        .subquery("rows")
    )
    body = sa.select(
        sa.func.count().label("found"),
        sa.func.string_agg(rows.c.json, sa.literal_column("','")).filter(rows.c[NUMBER] <= limit).label("records"),
        sa.func.max(rows.c.last).filter(rows.c[NUMBER] == limit).label("last"),
    ).subquery("body")
    head = DatasetHead.__table__.alias("head")
    return render(
        sa.select(head.c.revision, head.c.oldest_revision, *body.c).where(*is_head(head.c)).select_from(head, body)
    )


def branch(tables: DatasetTables, shape: PageShape, table: sa.Table) -> sa.Select[Any]:
    """The page's records in one table, current or history."""
    dataset = tables.dataset
    order = columns_of(dataset, shape.order)
    wanted = dict.fromkeys([dataset.properties[name].column for name in shape.properties] + [c for c, _ in order])
    statement = sa.select(*(table.c[name] for name in wanted))
    statement = statement.where(*(compile_filter(table, dataset, f, i) for i, f in enumerate(shape.filters)))
    if shape.pinned:
        statement = statement.where(*in_revision(tables, table))
    if shape.after is not None:
        statement = statement.where(compile_after(table, dataset, shape.order, shape.after))
    ordering = [order_by(table.c[name], descending) for name, descending in order]
    return statement.order_by(*ordering).limit(sa.bindparam("fetch", type_=sa.Integer))


def in_revision(tables: DatasetTables, table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """The conditions under which a row belongs to the pinned revision."""
    revision = sa.bindparam("revision", type_=sa.BigInteger)
    conditions: list[sa.ColumnElement[bool]] = [table.c[REVISION] <= revision]
    if table is tables.history:
        head = DatasetHead.__table__
        now = sa.select(head.c.revision).where(*is_head(head.c)).scalar_subquery()
        conditions += [table.c[UNTIL] > revision, revision < now]
    return conditions


def compile_record(tables: DatasetTables, properties: Sequence[str], *, pinned: bool) -> str:
    """The statement of one record by its key: one row of revision, oldest revision and the record's JSON or null."""
    dataset = tables.dataset
    found = []
    for table in (tables.current, tables.history) if pinned else (tables.current,):
        key = [
            table.c[prop.column] == sa.bindparam(f"k{index}", type_=prop.type.sqlalchemy)
            for index, prop in enumerate(dataset.properties[name] for name in dataset.key)
        ]
        conditions = in_revision(tables, table) if pinned else []
        document = document_of(table, [dataset.properties[name] for name in properties])
        found.append(sa.select(document).select_from(table).where(*key, *conditions).scalar_subquery())
    head = DatasetHead.__table__.alias("head")
    record = sa.func.coalesce(*found).label("record")
    return render(sa.select(head.c.revision, head.c.oldest_revision, record).where(*is_head(head.c)))


def is_head(columns: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions of the dataset's head row."""
    return [
        columns.product == sa.bindparam("product", type_=sa.Text),
        columns.major == sa.bindparam("major", type_=sa.Integer),
        columns.dataset == sa.bindparam("dataset", type_=sa.Text),
    ]


def document_of(source: Any, properties: Sequence[Property]) -> sa.ColumnElement[str]:
    """A record as JSON text, from the columns of `source`."""
    # A whole row of a lateral select becomes one ROW(…) with names: the fastest way to JSON that Postgres has.
    document = sa.select(*(shown(source, prop) for prop in properties)).correlate(source).subquery("document")
    row = sa.cast(sa.func.row_to_json(sa.literal_column("document")), sa.Text)
    return sa.select(row).select_from(document).scalar_subquery()


def columns_of(dataset: Dataset, order: tuple[tuple[str, bool], ...]) -> list[tuple[str, bool]]:
    """The order by column instead of by property."""
    return [(dataset.properties[name].column, descending) for name, descending in order]


def order_by(column: sa.ColumnElement[Any], descending: bool) -> sa.ColumnElement[Any]:
    """Nulls come last in both directions."""
    return column.desc().nulls_last() if descending else column.asc()


def shown(source: Any, prop: Property) -> sa.ColumnElement[Any]:
    """A property as the JSON shows it: text where JSON readers would lose digits."""
    column = source.c[prop.column]
    text = postgresql.ARRAY(sa.Text()) if prop.type.item else sa.Text()
    return (sa.cast(column, text) if prop.type.json_as_text else column).label(prop.name)


def compile_filter(table: sa.Table, dataset: Dataset, condition: Filter, index: int) -> sa.ColumnElement[bool]:
    """One filter's condition, over the parameter f<index>."""
    prop = dataset.properties[condition.property]
    column = table.c[prop.column]
    value = sa.bindparam(f"f{index}", type_=prop.type.sqlalchemy)
    match condition.operator:
        case "eq":
            return column == value
        case "ne":
            return column != value
        case "gt":
            return column > value
        case "gte":
            return column >= value
        case "lt":
            return column < value
        case "lte":
            return column <= value
        case "in":
            return column == sa.any_(sa.bindparam(f"f{index}", type_=postgresql.ARRAY(prop.type.sqlalchemy)))
        case "like":
            return column.like(value)
        case "ilike":
            return column.ilike(value)
    return column.is_(None) == sa.bindparam(f"f{index}", type_=sa.Boolean)


def compile_after(
    table: sa.Table, dataset: Dataset, order: tuple[tuple[str, bool], ...], nulls: tuple[bool, ...]
) -> sa.ColumnElement[bool]:
    """The condition that a record comes after the cursor's, over the parameters a0, a1, …"""
    columns = [table.c[dataset.properties[name].column] for name, _ in order]
    values = [
        sa.bindparam(f"a{index}", type_=dataset.properties[name].type.sqlalchemy)
        for index, (name, _) in enumerate(order)
    ]
    if all(name in dataset.key and not descending for name, descending in order):
        # One direction and no nulls: a row comparison, which an index on the key answers as one range.
        return sa.tuple_(*columns) > sa.tuple_(*values) if len(columns) > 1 else columns[0] > values[0]
    steps: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for (name, descending), column, value, is_null in zip(order, columns, values, nulls, strict=True):
        if not is_null:
            beyond = column < value if descending else column > value
            if name not in dataset.key:
                beyond = sa.or_(beyond, column.is_(None))
            steps.append(sa.and_(*equal, beyond))
        equal.append(column.is_(None) if is_null else column == value)
    return sa.or_(*steps)


def render(statement: sa.Select[Any]) -> str:
    """The statement as psycopg takes it, with named parameters."""
    return str(statement.compile(dialect=DIALECT))
