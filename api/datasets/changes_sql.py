"""What changed between two revisions -> one SQL statement that returns finished JSON. Pure.

With S(r) the caller's records of a revision: inserted are the keys in S(until) and not in S(since), updated those in
both that were written in between, deleted those in S(since) and not in S(until). So a record that leaves what the
caller may see is a delete for it, and one that it never saw is never named; nor is one that looks as before, because
only what is hidden from the caller changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from api.database.statement import Statement
from api.query.view import View
from api.sql.json_page import document_of, page_body
from api.sql.pagination import After, compile_after, find_key, is_cursor_record_found
from api.sql.selection import OLDER, conditions_of, pinned_revision, with_heads
from api.sql.statement_text import render
from catalog.storage.dataset_tables import REVISION, UNTIL

KIND = "_kind"
SINCE = 1  # the place of the older revision among a statement's pinned ones


@dataclass(frozen=True)
class ChangesShape:
    """Everything about a page of changes that its statement depends on."""

    properties: tuple[str, ...]
    after: After | None  # for a cursor


def compile_changes(view: View, shape: ChangesShape) -> Statement:
    """The statement of a page of changes in the order of the key; gives what that of a page of records gives.

    Parameters are revision_0 (until), revision_1 (since), `limit`, `fetch` and, behind a cursor, those of its key.
    """
    limit, fetch = (sa.bindparam(name, type_=sa.Integer) for name in ("limit", "fetch"))
    key = [view.dataset.properties[name].column for name in view.dataset.key]
    cursor_record = find_key(view, shape.after.truncated) if shape.after else None
    branches = [
        sa.select(part.order_by(*(part.selected_columns[c] for c in key)).limit(fetch).subquery())
        for part in (
            written(view, shape, view.tables.current, cursor_record),
            written(view, shape, view.tables.history, cursor_record),
            ended(view, shape, cursor_record),
        )
    ]
    both = sa.union_all(*branches).subquery("_both")
    page = sa.select(both).order_by(*(both.c[c] for c in key)).limit(fetch).subquery("_page")
    body = page_body(
        page,
        limit,
        lambda row: [sa.cast(row.c[column], sa.Text) for column in key],
        lambda row: write_change(view, shape, row),
    )
    return render(with_heads([view], [*body.c, *is_cursor_record_found(cursor_record)], body))


def written(view: View, shape: ChangesShape, table: sa.Table, cursor_record: sa.CTE | None) -> sa.Select[Any]:
    """The records of S(until) that were written after `since`."""
    since = pinned_revision(SINCE)
    conditions = [*conditions_of(view, table, age=OLDER), table.c[REVISION] > since]
    if view.closed:
        seen = [prop.column for prop in view.shown.values() if not prop.masked]
        conditions.append(sa.not_(was_there(view, table, alike=seen)))
    return pick(view, shape, table, "written", conditions, cursor_record)


def ended(view: View, shape: ChangesShape, cursor_record: sa.CTE | None) -> sa.Select[Any]:
    """The records of S(since) whose keys are not in S(until)."""
    table, until, since = view.tables.history, pinned_revision(), pinned_revision(SINCE)
    # As in S(since), but without the shortcut for the head: what ended by `until` lies in history.
    conditions = [
        *conditions_of(view, table),
        table.c[REVISION] <= since,
        table.c[UNTIL] > since,
        table.c[UNTIL] <= until,
        sa.not_(sa.or_(*(exists_at(view, table, base) for base in (view.tables.current, view.tables.history)))),
    ]
    return pick(view, shape, table, "ended", conditions, cursor_record)


def exists_at(view: View, row: Any, base: sa.Table, index: int = 0) -> sa.ColumnElement[bool]:
    """Whether a table holds, in a pinned revision, a record with the key of `row`."""
    other = base.alias(f"_other_{base.name}")
    conditions = conditions_of(view, base, age=OLDER, index=index, source=other)
    return sa.exists().select_from(other).where(*same_key(view, row, other), *conditions).correlate(row)


def was_there(view: View, row: Any, alike: Sequence[str] = ()) -> sa.ColumnElement[bool]:
    """Whether S(since) holds the key of `row`, written after `since`; with these columns as they are now."""
    # What such a record was at `since` can only lie in history.
    before = view.tables.history.alias("_before")
    conditions = [*conditions_of(view, view.tables.history, source=before)]
    conditions += [before.c[REVISION] <= pinned_revision(SINCE), before.c[UNTIL] > pinned_revision(SINCE)]
    conditions += [before.c[column].is_not_distinct_from(row.c[column]) for column in alike]
    return sa.exists().select_from(before).where(*same_key(view, row, before), *conditions).correlate(row)


def same_key(view: View, one: Any, other: Any) -> list[sa.ColumnElement[bool]]:
    """The conditions that two rows have the same key."""
    columns = [view.dataset.properties[name].column for name in view.dataset.key]
    return [one.c[column] == other.c[column] for column in columns]


def pick(
    view: View,
    shape: ChangesShape,
    table: sa.Table,
    kind: str,
    conditions: Sequence[sa.ColumnElement[bool]],
    cursor_record: sa.CTE | None,
) -> sa.Select[Any]:
    """The key and the wanted properties of the rows of one table."""
    names = dict.fromkeys((*view.dataset.key, *shape.properties))
    columns = [table.c[view.dataset.properties[name].column] for name in names]
    statement = sa.select(*columns, sa.literal_column(f"'{kind}'", sa.Text).label(KIND)).where(*conditions)
    if shape.after:
        order = tuple((name, False) for name in view.dataset.key)
        statement = statement.where(compile_after(table, view.dataset, order, shape.after, cursor_record))
    return statement


def write_change(view: View, shape: ChangesShape, row: Any) -> sa.ColumnElement[str]:
    """One change as JSON text: what it is, the key, and the record as it is now, null where it was deleted."""
    dataset = view.dataset
    was = was_there(view, row)
    change = sa.case(
        (row.c[KIND] == sa.literal_column("'ended'"), sa.literal_column("'deleted'")),
        (was, sa.literal_column("'updated'")),
        else_=sa.literal_column("'inserted'"),
    )
    key = document_of(row, [dataset.properties[name] for name in dataset.key if name in view.properties])
    record = document_of(row, [view.shown[name] for name in shape.properties])
    shown: Any = sa.case((row.c[KIND] == sa.literal_column("'written'"), record), else_=sa.literal_column("'null'"))
    parts: list[Any] = ["""'{"change":"'""", change, """'","key":'""", key, """',"record":'""", shown, "'}'"]
    return sa.func.concat(*(sa.literal_column(part) if isinstance(part, str) else part for part in parts))
