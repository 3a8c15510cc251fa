"""The records of an export, as Arrow batches from one statement at one revision.

ADBC brings a result over as it is copied, without a Python object per record. It waits, so it runs in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import pyarrow as pa
import sqlalchemy as sa

from api.database.turns import Turns
from api.datasets.reader import age_of, pinned_values
from api.exports.formats.export_format import ExportFormat
from api.exports.query import ExportQuery, compile_export
from api.http.problems import Problem
from api.query.question import Pin
from api.query.view import View
from api.sql.selection import is_head
from api.sql.statement_text import render_literals
from catalog.storage.held_tables import write_hold
from catalog.storage.ledger_tables import DatasetHead
from runtime.errors import DatabaseUnavailableError
from runtime.postgres.database import translate_state
from runtime.postgres.sql_types import SqlQuery
from runtime.settings.settings import Settings

BATCH_BYTES = 1024 * 1024
CANCEL_SECONDS = 0.1  # between one try to end a statement and the next


@dataclass(frozen=True)
class Opened:
    """A running export: its columns, and what gives the next batch, None at the end."""

    schema: pa.Schema
    next_batch: Callable[[], pa.RecordBatch | None]
    cancel: Callable[[], None]


class ExportSource:
    """Opens exports, only so many at once: they are long, and must not take the pages' connections."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.database = SharedDatabase(url)
        share = max(settings.exports_at_once // 2, 1)
        self.turns = Turns(settings.exports_at_once, what="exports", each=share)
        self.wait_seconds = settings.pool_timeout_ms / 1000
        self.timeout_seconds = settings.export_timeout_seconds

    @asynccontextmanager
    async def open(
        self,
        view: View,
        query: ExportQuery,
        pin: Pin,
        media_type: ExportFormat,
        gone: asyncio.Future[None] | None = None,
    ) -> AsyncIterator[Opened]:
        """The export's batches; a reader that leaves early, or is `gone`, has its statement cancelled."""
        async with self.turns.turn(self.wait_seconds):
            running = Running(self.database, self.timeout_seconds)
            try:
                starting = asyncio.ensure_future(asyncio.to_thread(running.start, view, query, pin, media_type))
                if gone is not None:
                    either: set[asyncio.Future[Any]] = {starting, gone}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    while not starting.done():
                        # Again and again: the first time may be just before the statement begins.
                        running.cancel()
                        await asyncio.wait({starting}, timeout=CANCEL_SECONDS)
                yield await starting
            finally:
                await asyncio.shield(asyncio.to_thread(running.stop))


class SharedDatabase:
    """What the driver knows of a database, kept: to read all types takes it longer than a small export does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.Lock()
        self.known: adbc.AdbcDatabase | None = None

    def connect(self) -> object:
        """A new connection, in a transaction.

        The driver prepares and describes each statement in two steps. A pooler may lead them to two server
        connections outside of a transaction, so it is begun first, by a statement that is sent in one step.
        """
        # Here, since it imports pandas and Polars where they are installed: a fifth of the time that a start takes.
        from adbc_driver_manager.dbapi import Connection

        with self.lock:
            if self.known is None:
                self.known = adbc_driver_postgresql.connect(self.url)
            # A connection closes the database that it is given: it gets us, and we stay open.
            return Connection(cast(Any, self), adbc.AdbcConnection(self.known), autocommit=False)

    def close(self) -> None:
        """Nothing: other connections still need it."""


class Running:
    """One export's connection and statement; in threads, one call at a time."""

    def __init__(self, database: SharedDatabase, timeout_seconds: float) -> None:
        self.database = database
        self.timeout_seconds = timeout_seconds
        self.connection: Any = None
        self.cursor: Any = None
        self.ended = False  # whether the last batch was read: behind a pooler, a late cancel would be another's

    def start(self, view: View, query: ExportQuery, pin: Pin, media_type: ExportFormat) -> Opened:
        """Begins the statement; revision_gone where the revision is no longer kept."""
        with translated():
            self.connection = self.database.connect()
            with self.connection.cursor() as cursor:
                self.cursor = cursor  # it waits where a migration has the tables: whoever leaves ends that
                # The settings go with the transaction: a pooler gives the session to others afterwards.
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute("SET LOCAL TimeZone = 'UTC'")
                cursor.execute(f"SET LOCAL statement_timeout = '{int(self.timeout_seconds * 1000)}ms'")
                cursor.execute("SET LOCAL application_name = 'decant-export'")
                cursor.execute(write_hold((view.tables.current, view.tables.history)))
                cursor.execute(render_literals(compile_head(view), {}))
                head, oldest = cursor.fetchone()
            self.cursor = None
            if pin.revision > head:
                # One address may lead to several databases, of which one lags.
                raise DatabaseUnavailableError(
                    "The database that serves reads does not have the requested revision yet."
                )
            if pin.revision < oldest:
                raise Problem("revision_gone", f"The oldest revision that can be read is {oldest}.")
            statement = compile_export(view, query, media_type, age=age_of(pin, [head]))
            values = {f"f{index}": value for index, value in enumerate(query.values)} | pinned_values(pin)
            self.cursor = self.connection.cursor()
            self.cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            self.cursor.execute(render_literals(statement, values))
            batches = self.cursor.fetch_record_batch()
        return Opened(batches.schema, lambda: self.read_next(batches), self.cancel)

    def read_next(self, batches: pa.RecordBatchReader) -> pa.RecordBatch | None:
        """The next batch, None at the end."""
        batch = read_next(batches)
        self.ended = batch is None
        return batch

    def cancel(self) -> None:
        """Ends the statement; harmless where it has ended."""
        if self.cursor is not None and not self.ended:
            with suppress(adbc.Error):
                self.cursor.adbc_cancel()

    def stop(self) -> None:
        """Cancels what still runs, and closes the connection."""
        try:
            if self.cursor is not None:
                self.cancel()
                with suppress(adbc.Error):
                    self.cursor.close()
            if self.connection is not None:
                # Ends the transaction, so that a pooler can keep its connection; `rollback` would begin another.
                with suppress(adbc.Error):
                    self.connection.adbc_connection.set_autocommit(True)
        finally:
            if self.connection is not None:
                self.connection.close()


def read_next(batches: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """The next batch, None at the end."""
    with translated():
        try:
            return batches.read_next_batch()
        except StopIteration:
            return None


class translated:  # noqa: N801 - reads as a phrase
    """Turns ADBC's errors into ours."""

    def __enter__(self) -> None:
        """Begins."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Ends; the driver's text stays behind in the cause."""
        if isinstance(error, adbc.Error | pa.ArrowException | OSError):
            raise translate_state(getattr(error, "sqlstate", None)) from error


def compile_head(view: View) -> SqlQuery:
    """The statement of the dataset's current and oldest revision."""
    head = DatasetHead.__table__
    return sa.select(head.c.revision, head.c.oldest_revision).where(*is_head(head.c, view.dataset))
