"""Which of two records with one key is the newer, beyond one batch.

In `upsert` mode with `orderBy`, the record with the greater value stays, whichever batch it came in. No value is less
than any; of equal ones, what came later stays. A snapshot is what its source holds now, and an appended key never
changes: there `orderBy` decides within one batch only.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from catalog.tables import LINE, DatasetTables


def order_column(tables: DatasetTables) -> str | None:
    """The column that decides between a batch's record and the current one; None where the later batch does."""
    source = tables.dataset.input
    if source is None or source.mode != "upsert" or source.order_by is None:
        return None
    return tables.dataset.properties[source.order_by].column


def compare(tables: DatasetTables, staged: Any, column: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Whether the staged record is older than the current one, and whether neither is."""
    mine: sa.ColumnElement[Any] = staged.c[column]
    theirs: sa.ColumnElement[Any] = tables.current.c[column]
    if isinstance(tables.current.c[column].type, sa.Text):
        # As within a batch: by code points, whatever the database sorts by.
        mine, theirs = sa.collate(mine, "C"), sa.collate(theirs, "C")
    older = sa.or_(mine < theirs, sa.and_(mine.is_(None), theirs.is_not(None)))
    return older, mine.is_not_distinct_from(theirs)


def leave_outdated(connection: sa.Connection, tables: DatasetTables, staged: sa.Table) -> list[int]:
    """The lines of staged records that are older than the current ones, taken out: they count as duplicates."""
    column = order_column(tables)
    if column is None or staged is tables.current:
        return []
    older, _ = compare(tables, staged, column)
    same_key = (tables.current.c[name] == staged.c[name] for name in tables.key())
    statement = sa.delete(staged).where(*same_key, older).returning(staged.c[LINE])
    return list(connection.scalars(statement))
