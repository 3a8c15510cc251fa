"""Logins and engines. Driver errors become ours here and nowhere else."""

from __future__ import annotations

import re
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolTimeout

from runtime.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    QueryTimeoutError,
    QueryTooExpensiveError,
    SettingsError,
)
from runtime.postgres.embedded_postgres import choose_folder, run_embedded
from runtime.postgres.poolers import refuse_poolers
from runtime.settings.settings import Settings

INGEST_ROLE = "decant_ingest"
READ_ROLE = "decant_read"
WRITE_ROLE = "decant_write"
ROLES = (INGEST_ROLE, READ_ROLE, WRITE_ROLE)
APPLICATION_NAME = "decant"
READ_ONLY_TRANSACTION = (
    "SELECT set_config('transaction_read_only', 'on', true), set_config('TimeZone', 'UTC', true),"
    " set_config('search_path', 'public', true)"
)
# Decant has no column of the type hstore, which SQLAlchemy would look for with each new engine's first connection.
NO_HSTORE = {"use_native_hstore": False}
PORTS = re.compile(r"[0-9]*(,[0-9]*)*")  # of several hosts, one each

# What PostgreSQL says when it is going down, coming up, full or gone; or when a table is taken away for a while: by a
# migration, or on a replica by replay, which cancels the statements in its way.
UNAVAILABLE = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.TooManyConnections,
    errors.ConnectionFailure,
    errors.ConnectionDoesNotExist,
    errors.ConnectionException,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.SerializationFailure,
    PoolTimeout,
)


@dataclass(frozen=True)
class DatabaseUrls:
    """The connection strings of the four logins."""

    owner: str
    ingest: str
    read: str
    write: str


@contextmanager
def open_database(settings: Settings) -> Iterator[DatabaseUrls]:
    """The logins of the configured server, or of the embedded one, which runs as long as the context does."""
    if settings.database_url is not None and settings.database_url.get_secret_value():
        owner = settings.database_url.get_secret_value()

        def pick(url: Any) -> str:
            return check_url(url.get_secret_value() if url is not None else owner)

        yield DatabaseUrls(
            check_url(owner),
            pick(settings.ingest_database_url),
            pick(settings.read_database_url),
            pick(settings.write_database_url),
        )
        return
    with run_embedded(choose_folder(settings.home)) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            create_roles(connection)
        yield DatabaseUrls(server.url(), *(server.url(user=role) for role in ROLES))


def check_url(url: str) -> str:
    """The URL in libpq's form; SettingsError for another database's, and for one that would be misread.

    What is misread is told by its parts, in logs too: a password's, where its signs are not percent-encoded.
    """
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"} or not rest:
        raise SettingsError("DECANT_DATABASE_URL must be of the form postgresql://user:password@host:5432/database")
    try:
        facts = conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.ProgrammingError:
        facts = {"port": "none"}
    if "@" in str(facts.get("host") or "").lstrip("@") or not PORTS.fullmatch(str(facts.get("port") or "")):
        raise SettingsError(
            "DECANT_DATABASE_URL is invalid: percent-encode special characters in its user and password."
        )
    return f"postgresql://{rest}"


def create_roles(connection: psycopg.Connection) -> None:
    """Makes the logins of the embedded server; harmless where they exist."""
    known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    for role in ROLES:
        if role not in known:
            # Another command may be quicker.
            with suppress(errors.DuplicateObject, errors.UniqueViolation):
                connection.execute(f'CREATE ROLE "{role}" LOGIN')


def make_engine(url: str, *, keep: bool = False) -> sa.Engine:
    """An engine for everything but the read path; times are UTC. With `keep`, a connection stays open for next time.

    A load asks about twenty times, and to connect each time takes half of a small load's time.

    The search path is fixed: a login named `decant` would have the ledger's schema as its default one, and Alembic
    would no longer see that schema by its name.
    """
    # Nobody waits for a connection that somebody else uses.
    kept = {"max_overflow": -1, "pool_reset_on_return": None}
    # The driver does not always notice that a reset has ended its prepared statements, and would use them still.
    facts = {"application_name": APPLICATION_NAME} | ({"prepare_threshold": None} if keep else {})
    engine = sa.create_engine(
        "postgresql+psycopg://" + url.partition("://")[2],
        connect_args=facts | {"options": "-c TimeZone=UTC -c search_path=public"},
        poolclass=sa.pool.QueuePool if keep else sa.pool.NullPool,
        **NO_HSTORE,
        **(kept if keep else {}),
    )
    refuse_poolers(engine)
    if keep:
        sa.event.listen(engine, "reset", forget_session)
        sa.event.listen(engine, "checkout", require_alive)
    return engine


@contextmanager
def keep_engine(url: str) -> Iterator[sa.Engine]:
    """An engine whose connections stay open for next time, until the context ends."""
    engine = make_engine(url, keep=True)
    try:
        yield engine
    finally:
        engine.dispose()


def require_alive(connection: psycopg.Connection[Any], _record: Any, _proxy: Any) -> None:
    """Has a kept connection that died between two uses replaced, and all others that were open then.

    The server says so, or closes the socket: one that holds nothing to be read is not asked, which would take a round
    trip for each of a load's small transactions.
    """
    try:
        if connection.closed:
            raise psycopg.OperationalError
        if select.select([connection], [], [], 0)[0]:
            connection.autocommit = True
            connection.execute("", prepare=False)
            connection.autocommit = False
    except (psycopg.Error, OSError, ValueError) as error:
        raise sa.exc.InvalidatePoolError from error


def forget_session(connection: psycopg.Connection[Any], _record: Any, _state: Any) -> None:
    """Makes a kept connection as good as a new one: its temporary tables, locks and settings go."""
    try:
        connection.rollback()
        connection.autocommit = True
        connection.execute("DISCARD ALL", prepare=False)
        connection.autocommit = False
    except psycopg.Error:
        connection.close()  # its next user finds it dead, and opens another one


def make_read_engine(url: str) -> sa.Engine:
    """An engine for commands that only read, through a pooler too: all its settings are made in each transaction."""
    engine = sa.create_engine(
        "postgresql+psycopg://" + url.partition("://")[2],
        connect_args={"application_name": APPLICATION_NAME, "prepare_threshold": None},
        poolclass=sa.pool.NullPool,
        **NO_HSTORE,
    )

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(READ_ONLY_TRANSACTION)

    sa.event.listen(engine, "begin", begin)
    return engine


def translate_error(error: Exception) -> DatabaseError:
    """Our error for one of the driver's; the driver's text stays behind in `__cause__`, for logs only.

    One of ours, such as that all connections are taken, stays what it is.
    """
    if isinstance(error, DatabaseError):
        return error
    if isinstance(error, errors.QueryCanceled):
        return QueryTimeoutError()
    if isinstance(error, errors.ConfigurationLimitExceeded):
        return QueryTooExpensiveError()
    if isinstance(error, UNAVAILABLE) or (isinstance(error, psycopg.OperationalError) and error.sqlstate is None):
        return DatabaseUnavailableError()
    return DatabaseError()


def translate_state(sqlstate: str | None) -> DatabaseError:
    """Our error for what another driver says: by its SQLSTATE, and without one as a lost connection."""
    if sqlstate is None:
        return DatabaseUnavailableError()
    try:
        return translate_error(errors.lookup(sqlstate)())
    except KeyError:
        return DatabaseError()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turns the errors of psycopg and SQLAlchemy inside into ours."""
    try:
        yield
    except (psycopg.Error, PoolTimeout) as error:
        raise translate_error(error) from error
    except sa.exc.DBAPIError as error:
        raise translate_error(error.orig or error) from error
