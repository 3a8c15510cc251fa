"""The difference between a staged batch and the current revision, found in SQL and applied with history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable, DropTable

from catalog.storage.dataset_tables import LINE, LOAD, REVISION, UNTIL, DatasetTables
from ingest.quarantine.rejected_records import REJECTS
from runtime.postgres.copy import copy_file


def apply_changes(
    connection: sa.Connection, tables: DatasetTables, staging: sa.Table, revision: int
) -> tuple[int, int]:
    """Writes what is new and what is changed; how many of each. A repeated record is not touched.

    The difference is found once and kept by line: `INSERT … ON CONFLICT` over the whole batch takes four
    times as long.
    """
    current, history = tables.current, tables.history
    values = [name for name in tables.columns() if name not in tables.key()]
    delta = find_difference(connection, tables, staging, values)
    names = [*tables.columns(), REVISION, LOAD, LINE]
    changed = sa.select(staging).join(delta, delta.c[LINE] == staging.c[LINE]).where(~delta.c.is_new).subquery()
    match_changed = sa.and_(*(current.c[name] == changed.c[name] for name in tables.key()))
    connection.execute(
        sa.insert(history).from_select(
            [*names, UNTIL],
            sa.select(*(current.c[name] for name in names), sa.literal(revision, sa.BigInteger)).where(match_changed),
        )
    )
    updated = write(
        connection,
        sa.update(current)
        .where(match_changed)
        .values({**{name: changed.c[name] for name in [*values, LOAD, LINE]}, REVISION: revision}),
    )
    fresh = [sa.literal(revision, sa.BigInteger) if name == REVISION else staging.c[name] for name in names]
    inserted = write(
        connection,
        sa.insert(current).from_select(
            names, sa.select(*fresh).join(delta, delta.c[LINE] == staging.c[LINE]).where(delta.c.is_new)
        ),
    )
    return inserted, updated


def find_difference(
    connection: sa.Connection, tables: DatasetTables, staging: sa.Table, values: Sequence[str]
) -> sa.Table:
    """A temporary table of the lines of staged records that are new, or differ in one of these columns."""
    current = tables.current
    same_key = sa.and_(*(current.c[name] == staging.c[name] for name in tables.key()))
    differs = (
        sa.or_(*(current.c[name].is_distinct_from(staging.c[name]) for name in values)) if values else sa.false()
    )
    is_new = current.c[tables.key()[0]].is_(None)
    append = tables.dataset.input is not None and tables.dataset.input.mode == "append"
    wanted = is_new if append else sa.or_(is_new, differs)
    delta = sa.Table(
        "delta",
        sa.MetaData(),
        sa.Column(LINE, sa.BigInteger),
        sa.Column("is_new", sa.Boolean),
        prefixes=["TEMPORARY"],
    )
    difference = sa.select(staging.c[LINE], is_new.label("is_new")).select_from(staging.outerjoin(current, same_key))
    connection.execute(DropTable(delta, if_exists=True))
    connection.execute(CreateTable(delta))
    connection.execute(sa.insert(delta).from_select([LINE, "is_new"], difference.where(wanted)))
    connection.exec_driver_sql("ANALYZE delta")
    return delta


def delete_missing(
    connection: sa.Connection, tables: DatasetTables, staging: sa.Table, revision: int, missing_file: Path | None
) -> int:
    """Moves to history what a snapshot lacks; how many. A key among the rejected records counts as present.

    Where the keys that it lacks are known already they come in a file, and `staging` need not hold all the others.
    """
    current = tables.current
    present: sa.ColumnElement[bool]
    if missing_file is None:
        present = sa.exists().where(*(staging.c[name] == current.c[name] for name in tables.key()))
    else:
        missing = collect_missing(connection, tables, missing_file)
        present = ~sa.exists().where(*(missing.c[name] == current.c[name] for name in tables.key()))
    key = sa.func.concat_ws(",", *(sa.cast(current.c[name], sa.Text) for name in tables.key()))
    kept = sa.exists().where(REJECTS.c.key == key)
    return delete_records(connection, tables, sa.and_(~present, ~kept), revision)


def delete_records(
    connection: sa.Connection, tables: DatasetTables, condition: sa.ColumnElement[bool], revision: int
) -> int:
    """Moves the current records for which the condition holds to history; how many."""
    history = tables.history
    gone = sa.delete(tables.current).where(condition).returning(*tables.current.columns).cte("gone")
    names = [*tables.columns(), REVISION, LOAD, LINE]
    return write(
        connection,
        sa.insert(history).from_select(
            [*names, UNTIL], sa.select(*(gone.c[name] for name in names), sa.literal(revision, sa.BigInteger))
        ),
    )


def collect_missing(connection: sa.Connection, tables: DatasetTables, file: Path) -> sa.Table:
    """The keys in a file, in a temporary table."""
    columns = [sa.Column(name, tables.current.c[name].type) for name in tables.key()]
    missing = sa.Table("missing", sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    connection.execute(DropTable(missing, if_exists=True))
    connection.execute(CreateTable(missing))
    copy_file(connection, "missing", file)
    connection.exec_driver_sql("ANALYZE missing")
    return missing


def write(connection: sa.Connection, statement: sa.Insert | sa.Update) -> int:
    """How many rows a statement wrote."""
    # SQLAlchemy keeps the count of updates only, unless it is told that somebody wants it.
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
