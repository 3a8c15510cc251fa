"""A transaction that only reads, and leaves its session as it was: behind a pooler, others have it next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from catalog.model.sources import DatabaseSource
from ingest.inputs.database.own_database import refuse_own

# Settings of a transaction: nothing is written, nothing runs for ever, times are the same for everybody.
TRANSACTIONS: dict[str, tuple[str, ...]] = {
    "postgresql": (
        "SET TRANSACTION READ ONLY",
        "SET LOCAL statement_timeout = '{milliseconds}ms'",
        "SET LOCAL TimeZone = 'UTC'",
        "SET LOCAL DateStyle = 'ISO, YMD'",
        "SET LOCAL IntervalStyle = 'iso_8601'",
        "SET LOCAL extra_float_digits = 1",
        "SET LOCAL bytea_output = 'hex'",
    ),
    "mysql": ("START TRANSACTION READ ONLY",),
    "mariadb": ("START TRANSACTION READ ONLY",),
    "sqlite": ("PRAGMA query_only = ON",),  # the session is nobody else's
}
# Settings that only sessions have are restored afterwards.
SESSIONS: dict[str, dict[str, str]] = {
    "mysql": {"time_zone": "'+00:00'", "max_execution_time": "{milliseconds}"},
    "mariadb": {"time_zone": "'+00:00'", "max_statement_time": "{seconds}"},
}


@contextmanager
def begin_reading(connection: sa.Connection, own: sa.Engine, source: DatabaseSource) -> Iterator[None]:
    """A transaction that only reads; SourceError where the database is Decant's own."""
    refuse_own(connection, own, source)
    with read_only(connection, source):
        yield


@contextmanager
def read_only(connection: sa.Connection, source: DatabaseSource) -> Iterator[None]:
    """A transaction in which the connection only reads."""
    limits = {"milliseconds": int(source.timeout * 1000), "seconds": int(source.timeout)}
    variant = name_variant(connection)
    before = {}
    for name in SESSIONS.get(variant, {}):
        before[name] = connection.exec_driver_sql(f"SELECT @@session.{name}").scalar_one()
    try:
        for name, value in SESSIONS.get(variant, {}).items():
            connection.exec_driver_sql(f"SET SESSION {name} = {value.format(**limits)}")
        for statement in TRANSACTIONS.get(variant, ()):
            connection.exec_driver_sql(statement.format(**limits))
        if variant == "postgresql" and holds_any_bytes(connection):
            # Texts that are not UTF-8 are the fault of their rows: the server must not check them.
            connection.exec_driver_sql("SET LOCAL client_encoding = 'SQL_ASCII'")
        yield
    finally:
        with suppress(SQLAlchemyError):
            connection.rollback()
            for name, value in before.items():
                connection.exec_driver_sql(f"SET SESSION {name} = %s", (value,))
            connection.rollback()


def name_variant(connection: sa.Connection) -> str:
    """The dialect's name; `mariadb` for a MariaDB, whatever its URL calls it."""
    return "mariadb" if getattr(connection.dialect, "is_mariadb", False) else connection.dialect.name


def holds_any_bytes(connection: sa.Connection) -> bool:
    """Whether a Postgres database takes texts as bytes, of whatever encoding."""
    return bool(connection.exec_driver_sql("SHOW server_encoding").scalar_one() == "SQL_ASCII")
