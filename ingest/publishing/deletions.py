"""Deletions that records of a batch ask for: by key, against the current revision.

The temporary table `deletions` has one row for each key that the batch deletes: the line of the record that says so,
its order value where it has one, and whether the batch brings the key again behind it.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable, DropTable

from catalog.storage.dataset_tables import LINE, LOAD, DatasetTables
from ingest.cleaning.newest import compare_values, order_column
from ingest.publishing.changes import delete_records
from ingest.quarantine.replay_merge import REPLAYED, ReplayPlan
from runtime.postgres.copy import copy_file
from runtime.postgres.sql_types import SqlExpression

ORDER = "_order"
AGAIN = "_again"


def collect_deletions(connection: sa.Connection, tables: DatasetTables, file: Path) -> sa.Table:
    """The table `deletions`, made of the file that the cleaning wrote."""
    deletions = sa.Table(
        "deletions",
        sa.MetaData(),
        *(sa.Column(name, tables.current.c[name].type) for name in tables.key()),
        sa.Column(LINE, sa.BigInteger),
        sa.Column(ORDER, sa.Text),
        sa.Column(AGAIN, sa.Boolean),
        prefixes=["TEMPORARY"],
    )
    connection.execute(DropTable(deletions, if_exists=True))
    connection.execute(CreateTable(deletions))
    copy_file(connection, "deletions", file)
    connection.exec_driver_sql("ANALYZE deletions")
    return deletions


def comes_again(tables: DatasetTables, deletions: sa.Table, staged: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a staged record stands behind a deletion of its key: it replaces the current one, however old it is."""
    same_key = (deletions.c[name] == staged.c[name] for name in tables.key())
    return sa.exists().where(*same_key, deletions.c[AGAIN])


def leave_outdated_deletions(connection: sa.Connection, tables: DatasetTables, deletions: sa.Table) -> list[int]:
    """The lines of deletions that are older than the current records, taken out: they count as duplicates.

    One without an order value is never older.
    """
    column = order_column(tables)
    if column is None:
        return []
    current = tables.current
    older, _ = compare_values(sa.cast(deletions.c[ORDER], current.c[column].type), current.c[column])
    return take_out(connection, tables, deletions, sa.and_(deletions.c[ORDER].is_not(None), older))


def leave_newer_records(
    connection: sa.Connection, tables: DatasetTables, deletions: sa.Table, plan: ReplayPlan
) -> list[int]:
    """The lines of replayed deletions taken out because a current record came later, or is newer by orderBy."""
    current = tables.current
    origin: SqlExpression = sa.literal(plan.load_id, sa.BigInteger)
    origin_line: SqlExpression = deletions.c[LINE]
    if plan.load_id is None:
        mine = REPLAYED.c.line == deletions.c[LINE]
        origin = sa.select(REPLAYED.c.load_id).where(mine).scalar_subquery()
        origin_line = sa.select(REPLAYED.c.origin_line).where(mine).scalar_subquery()
    newer = sa.or_(current.c[LOAD] > origin, sa.and_(current.c[LOAD] == origin, current.c[LINE] > origin_line))
    if (column := order_column(tables)) is not None:
        mine_value = sa.cast(deletions.c[ORDER], current.c[column].type)
        older, same = compare_values(mine_value, current.c[column])
        dated = deletions.c[ORDER].is_not(None)
        newer = sa.or_(sa.and_(dated, older), sa.and_(sa.or_(~dated, same), newer))
    return take_out(connection, tables, deletions, newer)


def take_out(
    connection: sa.Connection, tables: DatasetTables, deletions: sa.Table, condition: sa.ColumnElement[bool]
) -> list[int]:
    """Takes deletions out for which the condition holds beside the current record of their key; their lines."""
    same_key = (tables.current.c[name] == deletions.c[name] for name in tables.key())
    statement = sa.delete(deletions).where(*same_key, ~deletions.c[AGAIN], condition).returning(deletions.c[LINE])
    return list(connection.scalars(statement))


def apply_deletions(connection: sa.Connection, tables: DatasetTables, deletions: sa.Table, revision: int) -> int:
    """Moves the records whose keys are deleted, and not brought again, to history; how many."""
    same_key = (tables.current.c[name] == deletions.c[name] for name in tables.key())
    return delete_records(connection, tables, sa.exists().where(*same_key, ~deletions.c[AGAIN]), revision)
