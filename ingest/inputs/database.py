"""A table or a query of a database, through SQLAlchemy: read-only, with a cursor on the server, as NDJSON.

Postgres writes the JSON itself: numbers with all their digits, moments in UTC, bytes in hexadecimal, exactly as it
holds them. For other databases it is written here, from what their drivers give. Rows come in the order of the
dataset's key, so that the same data is the same batch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from catalog.dataset import Dataset, Input
from catalog.permits import real_path
from catalog.source_urls import SourceUrlError, check_source_url, make_source_url
from catalog.sources import DatabaseSource
from ingest.errors import SourceError, SourceUnavailableError
from ingest.inputs.batch import InputPlace, RawBatch, one_part
from ingest.inputs.database_own import keep_logins, refuse_own
from ingest.inputs.database_rows import write_rows
from ingest.inputs.filling import Filler
from ingest.inputs.incremental import Mark, find_mark

BLOCK_ROWS = 2_000
CONNECT_TIMEOUT = 10  # seconds
# How a driver is told the time that a connection may take.
CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_timeout": CONNECT_TIMEOUT, "application_name": "decant"},
    "pymysql": {"connect_timeout": CONNECT_TIMEOUT},
    "mysqldb": {"connect_timeout": CONNECT_TIMEOUT},
    "pyodbc": {"timeout": CONNECT_TIMEOUT},
    "oracledb": {"tcp_connect_timeout": CONNECT_TIMEOUT},
}
# What is said before the one query: nothing is written, nothing runs for ever, times are the same for everybody.
SESSIONS: dict[str, tuple[str, ...]] = {
    "postgresql": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET statement_timeout = '{milliseconds}ms'",
        "SET TimeZone = 'UTC'",
        "SET DateStyle = 'ISO, YMD'",
        "SET IntervalStyle = 'iso_8601'",
        "SET extra_float_digits = 1",
        "SET bytea_output = 'hex'",
    ),
    "mysql": (
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION MAX_EXECUTION_TIME = {milliseconds}",
        "SET time_zone = '+00:00'",
    ),
    "mariadb": (
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION max_statement_time = {seconds}",
        "SET time_zone = '+00:00'",
    ),
    "sqlite": ("PRAGMA query_only = ON",),
}
# A colon before a word is a parameter to SQLAlchemy, unless there is a backslash before it.
COLON = re.compile(r"(?<![:\w]):(?=[\w$])|(?<=\\):")
REFUSED = ("28", "3D")  # SQLSTATE: who asks is refused, no such database
# What drivers say of it before there is a session, which has no SQLSTATE yet.
LOGIN_FAILED = re.compile(
    r"authentication failed|access denied|login failed|ORA-01017|no pg_hba.conf"
    r'|(database|role) "[^"]*" does not exist',
    re.IGNORECASE,
)


@contextmanager
def open_database_batch(place: InputPlace) -> Iterator[RawBatch]:
    """The rows as NDJSON; only those behind the highest published mark where the input is incremental."""
    source = source_of(place.source)
    mark = find_mark(place)
    engine = make_source_engine(source, Filler(place.permits))
    try:
        with explain(source), engine.connect() as connection:
            refuse_own(connection, place.engine, source)
            prepare(connection, source)
            query = compile_query(place.dataset, source, mark, connection.dialect.name)
            with closing(read_blocks(connection, source, query)) as blocks:
                yield RawBatch(
                    source=source.address,
                    parts=one_part("rows", blocks),
                    position=lambda: mark.position if mark else None,
                    may_be_empty=mark is not None and mark.highest is not None,
                )
    finally:
        engine.dispose()


def make_source_engine(source: DatabaseSource, filler: Filler) -> sa.Engine:
    """An engine for the database, its variables filled in now; SourceError where there is no way to it."""
    url = make_url(source, filler)
    try:
        driver = url.get_driver_name()
        arguments = CONNECT_ARGUMENTS.get(driver, {}) | keep_logins(url, filler.permits)
        return sa.create_engine(
            url, connect_args=arguments, poolclass=sa.pool.NullPool, hide_parameters=True, echo=False
        )
    except (NoSuchModuleError, ImportError):
        raise SourceError(
            f"The database {source.server} needs a driver that is not installed: {url.drivername}."
        ) from None
    except (SQLAlchemyError, TypeError, ValueError):
        raise SourceError(f"The database {source.server} has an address that SQLAlchemy does not take.") from None


def make_url(source: DatabaseSource, filler: Filler) -> sa.URL:
    """The database's URL; that of a file only ever opens what is there, for reading."""
    try:
        url = make_source_url(source, filler.fill)
    except (ArgumentError, ValueError):
        raise SourceError(f"The database {source.server} has a URL that is none of SQLAlchemy's.") from None
    try:
        check_source_url(url, source, filler.permits)
    except SourceUrlError as error:
        raise SourceError(f"The database {source.server} {error}.") from None
    if url.get_backend_name() == "sqlite":
        path = real_path(url.database or "")
        return url.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    return url


def prepare(connection: sa.Connection, source: DatabaseSource) -> None:
    """Sets up the session."""
    limits = {"milliseconds": int(source.timeout * 1000), "seconds": int(source.timeout)}
    for statement in SESSIONS.get(connection.dialect.name, ()):
        connection.exec_driver_sql(statement.format(**limits))
    connection.commit()


def compile_query(dataset: Dataset, source: DatabaseSource, mark: Mark | None, dialect: str) -> sa.Select[Any]:
    """The rows that are asked for, in the order of the dataset's key."""
    rows: Any
    if source.sql is not None:
        rows = sa.text(COLON.sub(r"\\:", source.sql) + "\n").columns().subquery("_rows")
    else:
        rows = sa.table(source.table or "", schema=source.schema)
    query: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(rows)
    if mark is not None and mark.value is not None:
        query = query.where(sa.column(mark.incremental.target) >= bind(mark, dialect))
    return query.order_by(*(sa.column(name) for name in choose_order(dataset)))


def bind(mark: Mark, dialect: str) -> Any:
    """The mark as the source's column holds it."""
    value = mark.value
    if mark.incremental.format is not None:
        text = mark.text or ""
        return int(text) if mark.incremental.format.startswith("epoch") else text
    if isinstance(value, datetime) and value.tzinfo and dialect != "postgresql":
        # Few others know zones: what they hold is taken for UTC, here as where their rows are written.
        value = value.astimezone(UTC).replace(tzinfo=None)
    if dialect == "sqlite" and isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return value


def choose_order(dataset: Dataset) -> list[str]:
    """The columns that the dataset's key is read from, where it is read as it is."""
    key = [dataset.properties[name] for name in dataset.key]
    if any(prop.transform for prop in key):
        return []
    return list(dict.fromkeys(column for prop in key for column in prop.raw_columns))


def read_blocks(
    connection: sa.Connection, source: DatabaseSource, query: sa.Select[Any]
) -> Generator[bytes, None, None]:
    """The rows as NDJSON, block by block; SourceError where that takes too long."""
    end = time.monotonic() + source.timeout
    with explain(source):
        check_columns(connection, source, query)
        if connection.dialect.name == "postgresql":
            inner = query.subquery("_row")
            query = sa.select(sa.literal_column('row_to_json("_row".*)::text')).select_from(inner)
        streaming = connection.execution_options(stream_results=True, max_row_buffer=BLOCK_ROWS)
        with closing(streaming.execute(query)) as result:
            names = list(result.keys())
            for block in result.partitions(BLOCK_ROWS):
                if time.monotonic() > end:
                    raise SourceError(f"Reading {source.address} took over {source.timeout:,.0f} seconds.")
                if connection.dialect.name == "postgresql":
                    # A line break can only stand between the values of a column that holds JSON as it was written.
                    yield "".join(f"{row[0].replace(chr(10), ' ')}\n" for row in block).encode()
                else:
                    yield write_rows(names, block)


def check_columns(connection: sa.Connection, source: DatabaseSource, query: sa.Select[Any]) -> None:
    """SourceError where two columns have one name: one would hide the other."""
    with closing(connection.execute(query.where(sa.false()))) as result:
        names = list(result.keys())
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"Reading {source.address} gives two columns called {name!r}.")


@contextmanager
def explain(source: DatabaseSource) -> Iterator[None]:
    """Turns the errors of a driver into ours; of its own words, only those of Postgres about the query are kept."""
    try:
        yield
    except (NoSuchModuleError, ImportError):
        raise SourceError(f"The database {source.server} needs a driver that is not installed.") from None
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        said = getattr(getattr(error.orig, "diag", None), "message_primary", None) if state[:2] == "42" else None
        if state == "57014":
            raise SourceError(f"Reading {source.address} took over {source.timeout:,.0f} seconds.") from None
        if state[:2] in REFUSED or (not state and LOGIN_FAILED.search(str(error.orig))):
            raise SourceError(
                f"The database {source.server} refuses its login: check user, password and database."
            ) from None
        if said:
            raise SourceError(f"Reading {source.address} failed: {said}") from None
        if is_passing(error, state):
            raise SourceUnavailableError(f"The database {source.server} does not answer, or broke off.") from None
        raise SourceError(f"Reading {source.address} failed: the database refuses the query.") from None
    except SQLAlchemyError:
        raise SourceError(f"Reading {source.address} failed: SQLAlchemy cannot run the query.") from None


def is_passing(error: DBAPIError, state: str) -> bool:
    """Whether the connection, not the query, is what failed."""
    if error.connection_invalidated or state[:2] in {"08", "53", "57", "40"}:
        return True
    words = str(error.orig).lower()
    return (
        isinstance(error, sa.exc.OperationalError) and not state and "no such" not in words and "syntax" not in words
    )


def source_of(source: Input) -> DatabaseSource:
    """The input's database; SourceError where it has none."""
    if not isinstance(source.source, DatabaseSource):
        raise SourceError("The input is no database.")
    return source.source
