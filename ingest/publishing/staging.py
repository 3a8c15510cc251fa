"""Chores around a publication: the load's own staging table, indexes that wait for a first load, tidying up."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable, DropTable

from catalog.storage.dataset_tables import STAGING_SCHEMA, DatasetTables
from ingest.ledger.running_load import RunningLoad
from runtime.postgres.copy import copy_file
from runtime.postgres.sql_types import SqlExpression


def stage(load: RunningLoad, file: Path) -> None:
    """COPYs the accepted records into an unlogged table of this attempt at the load."""
    staging = load.staging
    with load.engine.begin() as connection:
        connection.execute(DropTable(staging, if_exists=True))
        connection.execute(CreateTable(staging))
        copy_file(connection, copy_target(connection, staging), file)


def unstage(engine: sa.Engine, name: str) -> None:
    """Drops a staging table, where there is one.

    A process that sleeps may hold its own: then the next load tries again.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        connection.execute(DropTable(sa.Table(name, sa.MetaData(), schema=STAGING_SCHEMA), if_exists=True))


def park_indexes(engine: sa.Engine, tables: DatasetTables) -> None:
    """Takes an empty table's secondary indexes away; the publication builds them when the table is full.

    A transaction of its own, and a short one: readers of the empty dataset are not held up while it is loaded.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        connection.execute(sa.select(sa.func.decant.park_indexes(regclass(connection, tables.current))))


def restore_indexes(connection: sa.Connection, tables: DatasetTables) -> None:
    """Builds the indexes that `park_indexes` took away."""
    connection.execute(sa.select(sa.func.decant.restore_indexes(regclass(connection, tables.current))))


def regclass(connection: sa.Connection, table: sa.Table) -> SqlExpression:
    """The table as an argument of a function."""
    return sa.cast(quote_table(connection, table).replace("%%", "%"), postgresql.REGCLASS)


def vacuum(engine: sa.Engine, tables: DatasetTables) -> None:
    """Makes the tables quick to read again after a large change."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in (tables.current, tables.history):
            connection.exec_driver_sql(f"VACUUM (ANALYZE) {quote_table(connection, table)}")


def quote_table(connection: sa.Connection, table: sa.Table) -> str:
    """The table's qualified name, quoted."""
    return connection.dialect.identifier_preparer.format_table(table)


def copy_target(connection: sa.Connection, table: sa.Table) -> str:
    """The table for COPY, its columns in our files' order: after a migration the database's own is another."""
    columns = ", ".join(connection.dialect.identifier_preparer.quote(column.name) for column in table.columns)
    return f"{quote_table(connection, table)} ({columns})".replace("%%", "%")
