"""Which of two records with one key is the newer, beyond one batch.

In `upsert` mode with `orderBy`, the record with the greater value stays, whichever batch it came in. No value is less
than any; of equal ones, what came later stays. A snapshot is what its source holds now, and an appended key never
changes: there `orderBy` decides within one batch only.

A rejected record keeps that value too, where it can be read, with what it is a value of: a good record of its key
closes it only where it is known to be no older.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from catalog.model.dataset import Dataset, Property
from catalog.storage.dataset_tables import LINE, DatasetTables
from runtime.postgres.sql_types import SqlExpression


def order_property(dataset: Dataset) -> Property | None:
    """The property that decides between batches; None where the later batch does."""
    source = dataset.input
    if source is None or source.mode != "upsert" or source.order_by is None:
        return None
    return dataset.properties[source.order_by]


def name_order(prop: Property) -> str:
    """What a kept value is a value of: one of another property or type is compared with nothing."""
    return f"{prop.name}: {prop.type.postgres}"


def order_column(tables: DatasetTables) -> str | None:
    """The column that decides between a batch's record and the current one; None where the later batch does."""
    prop = order_property(tables.dataset)
    return prop.column if prop else None


def compare(
    tables: DatasetTables, staged: sa.FromClause, column: str
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Whether the staged record is older than the current one, and whether neither is."""
    return compare_values(staged.c[column], tables.current.c[column])


def compare_values(
    mine: SqlExpression, theirs: SqlExpression
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Whether my value is less than the other one, no value being less than any, and whether they are the same."""
    if isinstance(mine.type, sa.Text):
        # As within a batch: by code points, whatever the database sorts by.
        mine, theirs = sa.collate(mine, "C"), sa.collate(theirs, "C")
    older = sa.or_(mine < theirs, sa.and_(mine.is_(None), theirs.is_not(None)))
    return older, mine.is_not_distinct_from(theirs)


def note_order(tables: DatasetTables, table: sa.FromClause) -> SqlExpression:
    """SQL for the value of a record as quarantine keeps it; null where none decides."""
    prop = order_property(tables.dataset)
    if prop is None:
        return sa.cast(sa.null(), JSONB)
    return sa.func.jsonb_build_object("by", name_order(prop), "value", sa.cast(table.c[prop.column], sa.Text))


def supersedes(
    tables: DatasetTables, value: SqlExpression, rejects: sa.FromClause, equal: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Whether a good record with this value is newer than a rejected one of its key; `equal` says it of equal values.

    Never where the rejected one's value is not known: it may be the newer one.
    """
    prop = order_property(tables.dataset)
    if prop is None:
        return equal
    kind = tables.current.c[prop.column].type
    known = sa.func.coalesce(rejects.c.order_value["by"].astext == name_order(prop), sa.false())
    theirs = sa.case((known, sa.cast(rejects.c.order_value["value"].astext, kind)))
    older, same = compare_values(sa.cast(value, kind), theirs)
    return sa.and_(known, ~sa.func.coalesce(older, sa.false()), sa.or_(~same, equal))


def leave_outdated(
    connection: sa.Connection, tables: DatasetTables, staged: sa.Table, kept: sa.ColumnElement[bool] | None = None
) -> list[int]:
    """The lines of staged records that are older than the current ones, taken out: they count as duplicates.

    Records for which `kept` holds stay: they stand behind a deletion of their key.
    """
    column = order_column(tables)
    if column is None or staged is tables.current:
        return []
    older, _ = compare(tables, staged, column)
    same_key = (tables.current.c[name] == staged.c[name] for name in tables.key())
    stays = sa.false() if kept is None else kept
    statement = sa.delete(staged).where(*same_key, older, ~stays).returning(staged.c[LINE])
    return list(connection.scalars(statement))
