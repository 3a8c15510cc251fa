"""Cache of dataset heads: the current revision of every dataset, kept up to date by notifications and polling.

A notification makes a new revision known at once; the truth is a poll, which also serves where nobody notifies (a
replica). Either reads only what it has to: a notification names its dataset, and each head keeps the number of the
transaction that moved it last, so that a poll asks for those that may have moved since the one before. What has not
been confirmed for a while is asked for again before it is believed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from api.auth.caller import CALLING, ITSELF
from api.database.connections import ReadConnections
from api.database.rows import text_of
from catalog.model.dataset import Dataset
from catalog.storage.channels import REVISIONS_CHANNEL
from runtime.errors import DatabaseError, DatabaseUnavailableError
from runtime.postgres.database import APPLICATION_NAME, translate_error
from runtime.postgres.poolers import ConnectionPool, PoolableConnection

POLL_SECONDS = 0.4  # a new revision is known within a second of its commit
PAUSE_SECONDS = 0.05  # after what was notified is read: what comes meanwhile becomes one read
WHOLE_SECONDS = 60.0  # between two reads of all heads, in case a dataset was removed
RETRY_SECONDS = 0.5  # after the connection was lost
VALID_SECONDS = 3.0  # how long what was read is believed without being confirmed
# At least one row, for what each row says besides its head. A transaction that is not over yet, or not begun, has a
# number of at least the snapshot's xmin.
HEADS = b"""
SELECT pg_is_in_recovery(), (SELECT epoch FROM decant.epochs ORDER BY id DESC LIMIT 1),
  pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
  d.id, d.product, d.major, d.dataset, d.revision, d.oldest_revision, d.record_count, d.published_at,
  r.inserted, r.updated, r.deleted
FROM (VALUES (1)) AS _one LEFT JOIN (
  decant.datasets AS d LEFT JOIN LATERAL (
    SELECT inserted, updated, deleted FROM decant.revisions WHERE dataset_id = d.id AND revision = d.revision LIMIT 1
  ) AS r ON true
) ON """
ALL = HEADS + b"true"
MOVED_SINCE = HEADS + b"d.moved_by >= %s"
NAMED = HEADS + b"d.id = ANY(%s)"
PRIMARY_HEAD = "SELECT revision FROM decant.datasets WHERE (product, major, dataset) = (%s, %s, %s)"
LOG = logging.getLogger("decant.heads")

DatasetKey = tuple[str, int, str]  # product, major, dataset


@dataclass(frozen=True, slots=True)
class Head:
    """The published state of a dataset: its current revision and record count."""

    number: int  # the dataset's own, whatever it is called
    revision: int  # 0 before the first publication
    oldest_revision: int  # what history still reaches
    record_count: int
    published_at: datetime | None
    # What the revision changed; None before the first publication.
    inserted: int | None
    updated: int | None
    deleted: int | None


class Heads:
    """Every dataset's head; `run` keeps it up to date."""

    def __init__(
        self,
        read_connections: ReadConnections,
        primary: ConnectionPool,
        url: str,
        report: Callable[[Mapping[DatasetKey, Head]], None],
    ) -> None:
        self.read_connections = read_connections
        self.primary = primary  # asked only where what is read is a replica, and behind
        self.report = report  # gets, every few moments, the heads that were read since
        self.url = url
        self.heads: dict[DatasetKey, Head] = {}
        self.keys_by_number: dict[int, DatasetKey] = {}  # of `heads`, by the dataset's number
        self.unreported: dict[DatasetKey, Head] = {}
        self.epoch = ""  # in which the revisions of `heads` count; empty before anything was read
        self.since: int | None = None  # transactions from this one on may have moved heads; None: read all of them
        self.whole_at = float("-inf")  # when all were read; this and the next by the monotonic clock
        self.confirmed = float("-inf")
        self.from_replica = False  # whether `heads` was read there
        self.reading: asyncio.Task[None] | None = None

    async def of(self, dataset: Dataset) -> Head:
        """The dataset's head; DatabaseUnavailableError where nobody can say."""
        if time.monotonic() - self.confirmed > VALID_SECONDS:
            await self.confirm()
        head = self.heads.get((dataset.product, dataset.major, dataset.name))
        if head is None:
            await self.refresh()
            head = self.heads.get((dataset.product, dataset.major, dataset.name))
        if head is None:
            raise DatabaseUnavailableError("The dataset has no table yet: run `decant migrate`.")
        return head

    async def at_least(self, dataset: Dataset, revision: int) -> Head:
        """The dataset's head, read again where it is older than `revision`.

        It may still be older where there is no such revision yet; DatabaseUnavailableError where there is one, which
        the replica that is read here has not got.
        """
        head = await self.of(dataset)
        if head.revision < revision:
            await self.refresh()
            head = await self.of(dataset)
        if head.revision < revision and self.from_replica and await self.primary_has(dataset, revision):
            raise DatabaseUnavailableError("The database that serves reads does not have the requested revision yet.")
        return head

    async def primary_has(self, dataset: Dataset, revision: int) -> bool:
        """Whether the primary has come so far."""
        key = (dataset.product, dataset.major, dataset.name)
        try:
            async with self.primary.connection() as connection:
                row = await (await connection.execute(PRIMARY_HEAD, key)).fetchone()
        except psycopg.Error as error:
            raise translate_error(error) from error
        return row is not None and row[0] >= revision

    async def refresh(self) -> None:
        """Reads what has moved in a statement that begins after this call; calls that come at once share one."""
        if self.reading is not None and not self.reading.done():
            # It may have begun before what the caller knows of was committed.
            await asyncio.wait({self.reading})
        await self.confirm()

    async def confirm(self) -> None:
        """Reads what has moved, or waits for the statement that reads it now."""
        if self.reading is None or self.reading.done():
            self.reading = asyncio.create_task(self.read_heads())
        await asyncio.shield(self.reading)

    async def read_heads(self) -> None:
        """Reads changed heads over a read connection, on behalf of no caller: concurrent waiters share one read."""
        CALLING.set(ITSELF)
        try:
            async with self.read_connections.connection() as connection:
                await self.read(connection)
        except psycopg.Error as error:
            raise translate_error(error) from error

    async def read(self, connection: AsyncConnection) -> None:
        """Reads the heads that may have moved since the last time; all of them where that is long ago."""
        asked = time.monotonic()
        if self.since is not None and asked - self.whole_at < WHOLE_SECONDS:
            rows = await fetch(connection, MOVED_SINCE, (self.since,))
            if self.take(rows):
                self.since, self.confirmed = rows[0][2], asked
                return
        rows = await fetch(connection, ALL)
        self.heads, self.keys_by_number, self.epoch = {}, {}, text_of(rows[0][1] or "")
        self.take(rows)
        self.since, self.confirmed, self.whole_at = rows[0][2], asked, asked

    async def read_named(self, connection: AsyncConnection, ids: list[int]) -> None:
        """Reads the heads of some datasets."""
        if not self.take(await fetch(connection, NAMED, (ids,))):
            await self.read(connection)

    def take(self, rows: Iterable[TupleRow]) -> bool:
        """Whether the heads that were read are of the known epoch: then they are known now."""
        for in_recovery, epoch, _, number, product, major, dataset, *facts in rows:
            if text_of(epoch or "") != self.epoch:
                return False
            self.from_replica = in_recovery
            if number is not None:
                self.take_one((text_of(product), major, text_of(dataset)), Head(number, *facts))
        return True

    def take_one(self, key: DatasetKey, head: Head) -> None:
        """Knows a dataset's head, under the name that it has now."""
        before = self.keys_by_number.get(head.number, key)
        known = self.heads.get(before)
        # The name may be another dataset's by now; whose it is has the say, in whichever order the rows come.
        if known is not None and known.number == head.number:
            # Within an epoch a head only ever moves on: what is older was read earlier.
            if (head.revision, head.oldest_revision) < (known.revision, known.oldest_revision):
                return
            del self.heads[before]
        self.keys_by_number[head.number] = key
        self.heads[key] = self.unreported[key] = head

    async def run(self) -> None:
        """Follows the database until it is cancelled."""
        while True:
            try:
                await self.follow()
            except (psycopg.Error, DatabaseError, OSError):
                # Requests find out for themselves; the log of the database knows why.
                LOG.debug("heads_lost", exc_info=True)
            await asyncio.sleep(RETRY_SECONDS)

    async def follow(self) -> None:
        """Reads each head that is notified of, and every few moments those that have moved anyway."""
        connection = await PoolableConnection.connect(
            self.url, autocommit=True, application_name=f"{APPLICATION_NAME}-heads", connect_timeout=5
        )
        async with connection:
            await connection.configure({})
            # A pooler passes notifications to the client that has that server connection then.
            listening = not connection.pooled and await listen(connection)
            self.since = None  # it may be another database now: that of a backup
            while True:
                await self.read(connection)
                polled = time.monotonic()
                self.report_heads()
                if not listening:
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                while (left := polled + POLL_SECONDS - time.monotonic()) > 0:
                    if (ids := await receive_notifications(connection, left)) is None:
                        break
                    await self.read_named(connection, ids)
                    self.report_heads()
                    await asyncio.sleep(PAUSE_SECONDS)

    def report_heads(self) -> None:
        """Reports what was read, by whomever."""
        read, self.unreported = self.unreported, {}
        self.report(read)


async def listen(connection: AsyncConnection) -> bool:
    """Whether the connection hears of publications now: a replica takes no LISTEN."""
    try:
        await connection.execute(f"LISTEN {REVISIONS_CHANNEL}".encode())
    except psycopg.errors.Error:
        return False
    return True


async def receive_notifications(connection: AsyncConnection, seconds: float) -> list[int] | None:
    """The numbers of the datasets that something is heard of; None where a poll is due, or has to find out."""
    # To the end, for the connection is busy until then.
    payloads = [each.payload async for each in connection.notifies(timeout=seconds, stop_after=1)]
    numbers = {payload.partition(":")[0] for payload in payloads}
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    return sorted(map(int, numbers)) or None


async def fetch(connection: AsyncConnection, statement: bytes, values: tuple[object, ...] = ()) -> list[TupleRow]:
    """The rows of a statement; DatabaseUnavailableError before the first migration."""
    try:
        return await (await connection.execute(statement, values or None)).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        raise DatabaseUnavailableError("The database is not migrated: run `decant migrate`.") from None
