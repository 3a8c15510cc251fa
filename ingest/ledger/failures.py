"""Maps an exception to an error code and a message for the ledger, without values of records.

Whatever is raised while a load runs ends that load in words. One thing does not: a database that is gone can be told
nothing. Then the load stays as it is, and the next one goes on where it stopped.
"""

from __future__ import annotations

import errno

import duckdb
import psycopg
import sqlalchemy as sa
from psycopg import errors

from ingest.errors import (
    CleaningError,
    DatabaseBusyError,
    DatabaseRefusedError,
    DiskFullError,
    IngestError,
    InternalError,
    InterruptedLoadError,
    OutOfMemoryError,
    SourceError,
    SourceUnavailableError,
    StoreUnreachableError,
    SystemFailureError,
)
from runtime.errors import CatalogError, DatabaseUnavailableError, StoreUnavailableError
from runtime.postgres.database import translate_error
from runtime.postgres.driver_messages import describe_duckdb, describe_postgres

# The database is there, and others were in the way.
BUSY = (errors.DeadlockDetected, errors.LockNotAvailable, errors.SerializationFailure, errors.QueryCanceled)
OWN_RESOURCES = (errors.InsufficientResources, errors.OperatorIntervention, errors.SystemError)
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
TRANSIENT_ERRNOS = {errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.EINTR, errno.ETIMEDOUT}
NO_SPACE = "No space left on device"
# Libraries that read sources; what they raise beyond what the inputs and readers expect is still the source's.
SOURCE_LIBRARIES: dict[str, type[SourceError]] = {
    "httpx": SourceUnavailableError,
    "httpcore": SourceUnavailableError,
    "pyarrow": SourceError,
    "sqlite3": SourceError,
    "pymysql": SourceError,
    "openpyxl": SourceError,
    "lxml": SourceError,
    "zlib": SourceError,
    "zstd": SourceError,
}


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error, where SQLAlchemy or our translation wraps it."""
    if isinstance(error, sa.exc.DBAPIError) and error.orig is not None:
        return error.orig
    if isinstance(error, CatalogError) and error.__cause__ is not None:
        return driver_error(error.__cause__)
    return error


def is_outage(error: BaseException) -> bool:
    """Whether the database itself is gone, so that a load can no longer be closed there."""
    driver = driver_error(error)
    if isinstance(driver, BUSY):
        return False
    if isinstance(error, DatabaseUnavailableError):
        return True
    return isinstance(driver, psycopg.Error) and isinstance(translate_error(driver), DatabaseUnavailableError)


def explain_failure(error: BaseException) -> IngestError:
    """The failure as the ledger keeps it."""
    if isinstance(error, IngestError):
        return error
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return InterruptedLoadError()
    driver = driver_error(error)
    if isinstance(driver, psycopg.Error):
        return explain_database(driver)
    if isinstance(driver, duckdb.Error):
        return explain_duckdb(driver)
    library = type(driver).__module__.partition(".")[0]
    if isinstance(driver, MemoryError):
        return OutOfMemoryError()
    if isinstance(driver, OSError):
        return explain_system(driver)
    if library in SOURCE_LIBRARIES:
        return SOURCE_LIBRARIES[library](
            f"The source cannot be read ({library}: {type(driver).__name__}); see the log."
        )
    if isinstance(driver, UnicodeError):
        return SourceError("The source holds text that cannot be read in its encoding; see the log.")
    if isinstance(driver, StoreUnavailableError):
        return StoreUnreachableError(str(driver))
    if isinstance(driver, CatalogError):
        return SystemFailureError(str(driver))
    return InternalError(f"{type(driver).__name__}: see the log.")


def explain_database(error: psycopg.Error) -> IngestError:
    """What Postgres refused."""
    if isinstance(error, BUSY):
        return DatabaseBusyError()
    state = error.sqlstate or ""
    said = describe_postgres(error)
    failure = DatabaseRefusedError(f"Postgres rejected a statement of the load: {said}; see the log.")
    failure.transient = isinstance(error, OWN_RESOURCES) or state[:2] in {"53", "57", "58"}
    return failure


def explain_duckdb(error: duckdb.Error) -> IngestError:
    """What went wrong in DuckDB, which only reads parsed records and writes checked ones."""
    if NO_SPACE in str(error):
        return DiskFullError()
    if isinstance(error, duckdb.OutOfMemoryException):
        return OutOfMemoryError()
    return CleaningError(f"DuckDB: {describe_duckdb(error)}; see the log.")


def explain_system(error: OSError) -> IngestError:
    """What the operating system refused, in its words."""
    if error.errno in DISK_FULL:
        return DiskFullError()
    key = f": {error.filename}" if isinstance(error.filename, str) else ""
    failure = SystemFailureError(
        f"The operating system reported an error: {error.strerror or type(error).__name__}{key}."
    )
    failure.transient = error.errno in TRANSIENT_ERRNOS or isinstance(error, ConnectionError)
    return failure
