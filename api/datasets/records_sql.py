"""A page of records, or one record -> one SQL statement. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from api.database.statement import Statement
from api.query.condition import Filter
from api.query.view import Related, View
from api.sql.csv_lines import csv_line
from api.sql.json_page import columns_of, document_of, page_body
from api.sql.keyset import NULLS, VALUES, Order, Part, order_by
from api.sql.pagination import After, compile_after, find_cursor_record, is_cursor_record_found
from api.sql.rendering import constant, is_deterministic
from api.sql.selection import Age, conditions_of, is_head, pinned_revision, revision_rows, tables_of, with_heads
from api.sql.statement_text import render
from catalog.model.dataset import EXPANDED
from catalog.storage.dataset_tables import leads_index
from catalog.storage.ledger_tables import DatasetHead, Revision

# Limits that are part of the statement, whose plan then needs no guess at them; others are parameters.
COMMON_LIMITS = frozenset({10, 20, 25, 50, 100, 200, 250, 500, 1000})
COUNT_CAP = 100_000  # records that are counted one by one for an exact total
ESTIMATE_CAP = 1000  # and for an estimated one, before a sample has to do
SAMPLE_RECORDS = 20_000
SEPARATORS = {"json": "','", "ndjson": "E'\\n'", "csv": "''"}  # as SQL


@dataclass(frozen=True)
class PageShape:
    """Everything about a page that its statement depends on."""

    filters: tuple[Filter, ...]
    order: Order  # sort, then what is left of the key
    properties: tuple[str, ...]
    limit: int | None  # None: a parameter
    age: Age
    after: After | None  # for a cursor
    count: str | None = None
    expand: tuple[str, ...] = ()
    media_type: str = "json"

    @property
    def keeps_plan(self) -> bool:
        """Whether one plan is right for all values."""
        return self.age.keeps_plan and is_deterministic(self.filters) and self.count is None and not self.is_truncated

    @property
    def is_truncated(self) -> bool:
        """Whether the record of its cursor is looked for by the beginning of its key."""
        return self.after is not None and not self.after.whole


def compile_page(view: View, shape: PageShape) -> Statement:
    """The statement of a page.

    Gives the heads; how many records were found, one more than `limit` where there is a next page; the records as
    text; of the last record which sort values are null, and the key, as a JSON array; whether the cursor's record was
    found, where it is looked for; and the total with whether it is exact.
    """
    dataset = view.dataset
    related = [view.related[name] for name in shape.expand]
    limit = constant(shape.limit) if shape.limit else sa.bindparam("limit", type_=sa.Integer)
    cursor_record = find_cursor_record(view, shape.order, shape.after, age=shape.age) if shape.after else None
    body = page_body(
        page_rows(view, shape, related, cursor_record),
        limit,
        lambda row: [
            *(row.c[column].is_(None) for column, _ in columns_of(dataset, shape.order)),
            *(sa.cast(row.c[dataset.properties[name].column], sa.Text) for name in dataset.key),
        ],
        lambda row: text_of(view, shape, row, related),
        SEPARATORS[shape.media_type],
    )
    views = [view, *(link.view for link in related)]
    payload = [*body.c, *is_cursor_record_found(cursor_record), *(count_columns(view, shape) if shape.count else ())]
    return render(with_heads(views, payload, body, age=shape.age), keep_plan=shape.keeps_plan)


def page_rows(view: View, shape: PageShape, related: Sequence[Related], cursor_record: sa.CTE | None) -> sa.Subquery:
    """The page's records and one more, in order."""
    fetch = constant(shape.limit + 1) if shape.limit else sa.bindparam("fetch", type_=sa.Integer)
    branches = [
        branch(view, shape, related, table, part, cursor_record).limit(fetch)
        for table in tables_of(view, age=shape.age)
        for part in split_order(view, shape)
    ]
    if len(branches) == 1:
        return branches[0].subquery("_page")
    both = sa.union_all(*(sa.select(b.subquery()) for b in branches)).subquery("_both")
    ordering = [order_by(both.c[name], descending) for name, descending in columns_of(view.dataset, shape.order)]
    return sa.select(both).order_by(*ordering).limit(fetch).subquery("_page")


def split_order(view: View, shape: PageShape) -> tuple[Part, ...]:
    """The parts of an order that are read one by one, because an index has each of them in order, but not the whole.

    An index has its nulls last in one direction and first in the other, and no single range of it lies behind a
    cursor with nulls at its end.
    """
    name, descending = shape.order[0]
    if not (descending or shape.after) or not leads_index(view.dataset, name):
        return (None,)
    return (NULLS,) if shape.after and shape.after.nulls[0] else (VALUES, NULLS)


def branch(
    view: View,
    shape: PageShape,
    related: Sequence[Related],
    table: sa.Table,
    part: Part,
    cursor_record: sa.CTE | None,
) -> sa.Select[Any]:
    """The page's records in one table, current or history, and in one part of the order."""
    dataset = view.dataset
    order = columns_of(dataset, shape.order)
    linked = [name for link in related for name in link.key.properties]
    columns = [dataset.properties[name].column for name in (*shape.properties, *linked)]
    wanted = dict.fromkeys(columns + [c for c, _ in order])
    statement = sa.select(*(table.c[name] for name in wanted))
    statement = statement.where(*conditions_of(view, table, shape.filters, age=shape.age))
    first = table.c[order[0][0]]
    if part is not None:
        statement = statement.where(first.is_(None) if part is NULLS else first.is_not(None))
    if shape.after is not None:
        statement = statement.where(compile_after(table, dataset, shape.order, shape.after, cursor_record, part))
    key = {dataset.properties[name].column for name in dataset.key}
    return statement.order_by(
        *(
            order_by(
                table.c[name], descending, nullable=name not in key and not (cursor_record == 0 and part is VALUES)
            )
            for cursor_record, (name, descending) in enumerate(order)
            if not (cursor_record == 0 and part is NULLS)
        )
    )


def text_of(view: View, shape: PageShape, source: Any, related: Sequence[Related]) -> sa.ColumnElement[str]:
    """One record of the page as it is written down."""
    properties = [view.shown[name] for name in shape.properties]
    if shape.media_type == "csv":
        return csv_line(source, properties)
    return document_of(source, properties, embedded(view, source, related, age=shape.age))


def embedded(view: View, source: Any, related: Sequence[Related], *, age: Age) -> list[sa.ColumnElement[Any]]:
    """The member `expanded`: for each link the record that it leads to, or null."""
    if not related:
        return []
    members: list[Any] = []
    for index, link in enumerate(related, 1):
        columns = [source.c[view.dataset.properties[name].column] for name in link.key.properties]
        key, target = dict(zip(link.key.targets, columns, strict=True)), link.view
        found = find_record(target, key, target.properties, age=age, within=(index, source))
        members += [constant(link.name), sa.cast(found, postgresql.JSON)]
    return [sa.func.json_build_object(*members).label(EXPANDED)]


def find_record(
    view: View,
    key: Mapping[str, Any],
    properties: Sequence[str],
    *,
    age: Age,
    extra: Any = None,
    within: tuple[int, Any] = (0, None),
) -> sa.ColumnElement[str]:
    """The text of the one record whose properties have these values.

    They may be columns of another source: `within` is which of the related records this is, and that source.
    """
    dataset = view.dataset
    index, outer = within
    found = []
    for base in tables_of(view, age=age):
        # The same dataset may be in the statement already: a record that refers to its own kind.
        table = base.alias(f"_record_{index}") if index else base
        keyed = [table.c[dataset.properties[name].column] == value for name, value in key.items()]
        conditions = conditions_of(view, base, age=age, index=index, source=table)
        added = extra(table) if extra else ()
        document = document_of(table, [view.shown[name] for name in properties], added)
        one = sa.select(document).select_from(table).where(*keyed, *conditions).limit(constant(1))
        # Said outright: at this depth SQLAlchemy would join what it should only refer to.
        found.append((one if outer is None else one.correlate(outer)).scalar_subquery())
    return sa.func.coalesce(*found) if len(found) > 1 else found[0]


def compile_record(view: View, properties: tuple[str, ...], expand: tuple[str, ...], *, age: Age) -> Statement:
    """The statement of one record by its key: the heads, and the record's JSON or null."""
    related = [view.related[name] for name in expand]
    key = {
        name: sa.bindparam(f"k{index}", type_=view.dataset.properties[name].type.sqlalchemy)
        for index, name in enumerate(view.dataset.key)
    }

    def extra(table: Any) -> list[sa.ColumnElement[Any]]:
        return embedded(view, table, related, age=age)

    record = find_record(view, key, properties, age=age, extra=extra)
    views = [view, *(link.view for link in related)]
    return render(with_heads(views, [record.label("record")], age=age), keep_plan=age.keeps_plan)


def count_columns(view: View, shape: PageShape) -> list[sa.ColumnElement[Any]]:
    """The total, and whether it is exact."""
    if not shape.filters and not view.row_filtered:
        # The revision knows: it was counted when it was published.
        revisions, head = Revision.__table__, DatasetHead.__table__
        known = sa.select(head.c.record_count).where(*is_head(head.c, view.dataset))
        if shape.age.pinned:
            known = (
                sa.select(revisions.c.record_count)
                .join_from(revisions, head, revisions.c.dataset_id == head.c.id)
                .where(*is_head(head.c, view.dataset), revisions.c.revision == pinned_revision(0, shape.age))
            )
        return [known.scalar_subquery().label("total"), sa.true().label("exact")]
    # An estimate is scaled by the number of all records, which a view of some must not reveal.
    # And its sample is of the current revision's records.
    exact = shape.count == "exact" or view.row_filtered or shape.age.pinned
    cap = COUNT_CAP if exact else ESTIMATE_CAP
    rows = revision_rows(view, shape.filters, view.dataset.key[:1], age=shape.age, name="_matching")
    counted = sa.select(sa.func.count()).select_from(sa.select(rows.c[0]).limit(constant(cap)).subquery("_counted"))
    total: Any = counted.scalar_subquery()
    if exact:
        return [total.label("total"), (total < constant(COUNT_CAP)).label("exact")]
    enough = total < constant(ESTIMATE_CAP)
    guess = sa.case((enough, total), else_=sa.func.greatest(estimate(view, shape), constant(ESTIMATE_CAP)))
    return [guess.label("total"), enough.label("exact")]


def estimate(view: View, shape: PageShape) -> sa.ColumnElement[int]:
    """How many records the filters leave, from a sample of the current revision's pages."""
    head = DatasetHead.__table__
    size = sa.select(head.c.record_count).where(*is_head(head.c, view.dataset)).scalar_subquery()
    share = sa.func.least(
        constant(100), constant(100 * SAMPLE_RECORDS) / sa.cast(sa.func.greatest(size, constant(1)), sa.Float)
    )
    table = view.tables.current
    # The same sample for one revision: its entity tag is a promise of the same bytes.
    seed = sa.select(head.c.revision).where(*is_head(head.c, view.dataset)).scalar_subquery()
    sample = table.tablesample(sa.func.system(sa.cast(share, postgresql.REAL)), name="_sample", seed=seed)
    matching = sa.and_(*conditions_of(view, table, shape.filters, source=sample))
    part = sa.func.count().filter(matching) / sa.cast(sa.func.greatest(sa.func.count(), constant(1)), sa.Float)
    scaled = sa.select(sa.cast(part * size, sa.BigInteger)).select_from(sample)
    return scaled.scalar_subquery()
