"""Translates driver errors: which table, column, driver or login is wrong.

Of a driver's own words only those are kept which name what the query asks for; others may repeat values and secrets.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from catalog.model.sources import DatabaseSource
from ingest.errors import SourceError, SourceUnavailableError

CANCELLED = "57014"  # by the time limit, or by somebody: only its text says which, in the server's language
REFUSED = ("28", "3D")  # SQLSTATE: who asks is refused, no such database
# What drivers say of it before there is a session, which has no SQLSTATE yet.
LOGIN_FAILED = re.compile(
    r"authentication failed|access denied for user|login failed|ORA-01017|no pg_hba.conf"
    r'|(database|role) "[^"]*" does not exist',
    re.IGNORECASE,
)
# Numbers of MySQL and MariaDB.
MYSQL_REFUSED = (1044, 1045, 1049, 1251, 1698, 1862)
MYSQL_TIMEOUTS = (1969, 3024)
MYSQL_CANCELLED = 1317
MYSQL_TRANSIENT = (1040, 1053, 1080, 1129, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1205, 1213, 1927)
# What of MySQL's errors is about names and grammar: unknown and ambiguous ones, syntax, missing rights.
MYSQL_NAMING = (1051, 1052, 1054, 1064, 1102, 1103, 1142, 1143, 1146, 1176, 1222, 1248, 1305, 1356, 1370, 1630)
TO_WHOM = re.compile(r" (?:to|for) user '[^']*'@'[^']*'")  # the login comes out of a variable
MYSQL_OF_CLIENT = range(2000, 3000)  # no connection, or a lost one
SQLITE_NAMING = re.compile(
    r"no such (table|column|function|collation sequence|index)|ambiguous column name|near \".*\": syntax error"
    r"|file is not a database|misuse of aggregate|wrong number of arguments|no tables specified"
)
SQLITE_TRANSIENT = re.compile(r"database is locked|database schema is locked|unable to open|disk I/O|busy")
SHOWN_LETTERS = 300


@contextmanager
def explain(source: DatabaseSource) -> Iterator[None]:
    """Turns the errors of a driver into ours."""
    begun = time.monotonic()
    try:
        yield
    except (NoSuchModuleError, ImportError) as error:
        name = getattr(error, "name", None) or "its driver"
        raise SourceError(f"The database {source.server} needs a driver that is not installed: {name}.") from None
    except DBAPIError as error:
        raise translate(source, error, time.monotonic() - begun) from None
    except SQLAlchemyError:
        raise SourceError(f"Reading {source.address} failed: SQLAlchemy cannot run the query.") from None


def translate(source: DatabaseSource, error: DBAPIError, seconds: float) -> SourceError:
    """A driver's error as ours, after so many seconds of reading."""
    driver = error.orig
    state = str(getattr(driver, "sqlstate", None) or "")
    number = mysql_number(driver)
    cancelled = state == CANCELLED or number == MYSQL_CANCELLED
    if number in MYSQL_TIMEOUTS or (cancelled and seconds >= source.timeout):
        return SourceError(f"Reading {source.address} took more than {source.timeout:,.0f} seconds.")
    if cancelled:
        return SourceUnavailableError(f"Reading {source.address} was cancelled in the database.")
    if state[:2] in REFUSED or number in MYSQL_REFUSED or (not state and LOGIN_FAILED.search(str(driver))):
        return SourceError(f"The database {source.server} rejects the login: check user, password and database.")
    if said := find_words(driver, state, number):
        return SourceError(f"Reading {source.address} failed: {said}")
    if is_transient(error, state, number):
        return SourceUnavailableError(f"The database {source.server} does not respond, or closed the connection.")
    code = f" ({state or f'error {number}'})" if state or number else ""
    return SourceError(f"Reading {source.address} failed: the database rejects the query{code}.")


def mysql_number(driver: BaseException | None) -> int | None:
    """The number of an error of MySQL or MariaDB; None of others."""
    arguments = getattr(driver, "args", ())
    is_mysql = type(driver).__module__.split(".")[0] in {"pymysql", "MySQLdb"}
    return arguments[0] if is_mysql and arguments and isinstance(arguments[0], int) else None


def find_words(driver: BaseException | None, state: str, number: int | None) -> str | None:
    """The driver's words about the names in a query; None where it says nothing of them."""
    said = None
    if number is None and state[:2] == "42":
        said = getattr(getattr(driver, "diag", None), "message_primary", None)
    elif number in MYSQL_NAMING:  # which have a state as well, and no words beside their message
        arguments: tuple[object, ...] = getattr(driver, "args", ())
        said = TO_WHOM.sub("", str(arguments[1])) if len(arguments) > 1 else None
    elif type(driver).__module__ == "sqlite3" and SQLITE_NAMING.search(str(driver)):
        said = str(driver)
    return " ".join(said.split())[:SHOWN_LETTERS] if said else None


def is_transient(error: DBAPIError, state: str, number: int | None) -> bool:
    """Whether the connection, not the query, is what failed."""
    if error.connection_invalidated:
        return True
    if number is not None:
        return number in MYSQL_OF_CLIENT or number in MYSQL_TRANSIENT
    if state[:2] in {"08", "53", "57", "40"}:
        return True
    if type(error.orig).__module__ == "sqlite3":
        return bool(SQLITE_TRANSIENT.search(str(error.orig)))
    words = str(error.orig).lower()
    return (
        isinstance(error, sa.exc.OperationalError) and not state and "no such" not in words and "syntax" not in words
    )
