"""Opens source databases: address with variables expanded, driver, session settings."""

from __future__ import annotations

import importlib.util
import sqlite3
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from catalog.inputs.permits import real_path
from catalog.inputs.source_urls import SourceUrlError, check_source_url, make_source_url
from catalog.model.sources import DatabaseSource
from ingest.errors import SourceError
from ingest.inputs.database.own_database import keep_logins
from ingest.inputs.variables import VariableExpander

CONNECT_TIMEOUT = 10  # seconds
# How a driver gets the time that a connection may take, and to leave nothing behind in a shared session.
CONNECT_ARGUMENTS: dict[str, dict[str, object]] = {
    "psycopg": {
        "connect_timeout": CONNECT_TIMEOUT,
        "application_name": "decant",
        "client_encoding": "utf8",
        "prepare_threshold": None,  # behind a pooler, the next statement may meet another session
    },
    "pymysql": {"connect_timeout": CONNECT_TIMEOUT},
    "mysqldb": {"connect_timeout": CONNECT_TIMEOUT},
    "pyodbc": {"timeout": CONNECT_TIMEOUT},
    "oracledb": {"tcp_connect_timeout": CONNECT_TIMEOUT},
}
# A URL that names no driver -> the one that is used where it is installed, and its module.
CHOSEN_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg"),
    "mysql": ("mysql+pymysql", "pymysql"),
    "mariadb": ("mariadb+pymysql", "pymysql"),
    "oracle": ("oracle+oracledb", "oracledb"),
}


def make_source_engine(source: DatabaseSource, expander: VariableExpander) -> sa.Engine:
    """An engine for the database, its variables filled in now; SourceError where there is no way to it."""
    url = make_url(source, expander)
    try:
        driver = url.get_driver_name()
        arguments = CONNECT_ARGUMENTS.get(driver, {}) | keep_logins(url, expander.permits)
        engine = sa.create_engine(
            url, connect_args=arguments, poolclass=sa.pool.NullPool, hide_parameters=True, echo=False
        )
    except (NoSuchModuleError, ImportError) as error:
        raise missing_driver(source, url, error) from None
    except (SQLAlchemyError, TypeError, ValueError):
        raise SourceError(f"The database {source.server} has an address that SQLAlchemy does not accept.") from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", keep_bytes)
    return engine


def missing_driver(source: DatabaseSource, url: sa.URL, error: Exception) -> SourceError:
    """The error that names the driver, and the module of Python that it is."""
    module = error.name if isinstance(error, ImportError) else None
    what = f"the module {module}" if module else "SQLAlchemy's dialect of that name"
    return SourceError(
        f"The database {source.server} needs a driver that is not installed: {url.drivername} ({what})."
    )


def keep_bytes(connection: sqlite3.Connection, record: object) -> None:
    """Lets texts of SQLite be what they are: one that is not UTF-8 is its record's fault alone."""
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")


def make_url(source: DatabaseSource, expander: VariableExpander) -> sa.URL:
    """The database's URL; that of a file only ever opens what is there, for reading."""
    try:
        url = make_source_url(source, expander.expand)
    except (ArgumentError, ValueError):
        raise SourceError(f"The database {source.server} has a URL that SQLAlchemy does not support.") from None
    try:
        check_source_url(url, source, expander.permits)
    except SourceUrlError as error:
        raise SourceError(f"The database {source.server} {error}.") from None
    chosen, module = CHOSEN_DRIVERS.get(url.drivername, ("", ""))
    if chosen and (importlib.util.find_spec(module) or not has_default(url)):
        return url.set(drivername=chosen)
    if url.get_backend_name() == "sqlite":
        path = real_path(url.database or "")
        return url.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    return url


def has_default(url: sa.URL) -> bool:
    """Whether the driver that SQLAlchemy takes by itself is installed."""
    try:
        url.get_dialect().import_dbapi()
    except (SQLAlchemyError, ImportError):
        return False
    return True
