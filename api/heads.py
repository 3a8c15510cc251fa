"""The head of every dataset, as this process knows it: which revision is the current one.

A notification makes a new revision known at once; the truth is a poll, which also serves where nobody notifies (a
replica). What has not been confirmed for a while is asked for again before it is believed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.lanes import Lanes
from api.turns import CALLING, ITSELF
from catalog.database import APPLICATION_NAME, translate_error
from catalog.dataset import Dataset
from catalog.errors import DatabaseError, DatabaseUnavailableError
from catalog.models import REVISIONS_CHANNEL
from catalog.poolers import PoolableConnection

POLL_SECONDS = 0.4  # a new revision is known within a second of its commit
RETRY_SECONDS = 0.5  # after the connection was lost
BELIEVED_SECONDS = 3.0  # how long what was read is believed without being confirmed
HEADS = (
    b"SELECT product, major, dataset, revision, oldest_revision, record_count, published_at, pg_is_in_recovery(),"
    b" (SELECT epoch FROM decant.epochs ORDER BY id DESC LIMIT 1) FROM decant.datasets"
)
PRIMARY_HEAD = "SELECT revision FROM decant.datasets WHERE (product, major, dataset) = (%s, %s, %s)"
LOG = logging.getLogger("decant.heads")

Place = tuple[str, int, str]  # product, major, dataset


@dataclass(frozen=True, slots=True)
class Head:
    """Where a dataset stands."""

    revision: int  # 0 before the first publication
    oldest_revision: int  # what history still reaches
    record_count: int
    published_at: datetime | None


class Heads:
    """Every dataset's head; `run` keeps it up to date."""

    def __init__(
        self,
        lanes: Lanes,
        primary: AsyncConnectionPool[Any],
        url: str,
        report: Callable[[Mapping[Place, Head]], None],
    ) -> None:
        self.lanes = lanes
        self.primary = primary  # asked only where what is read is a replica, and behind
        self.report = report  # gets all heads every few moments
        self.url = url
        self.known: dict[Place, Head] = {}
        self.epoch = ""  # in which the revisions of `known` count; empty before anything was read
        self.confirmed = float("-inf")  # by the monotonic clock
        self.from_replica = False  # whether `known` was read there
        self.reading: asyncio.Task[None] | None = None

    async def of(self, dataset: Dataset) -> Head:
        """The dataset's head; DatabaseUnavailableError where nobody can say."""
        if time.monotonic() - self.confirmed > BELIEVED_SECONDS:
            await self.confirm()
        head = self.known.get((dataset.product, dataset.major, dataset.name))
        if head is None:
            await self.refresh()
            head = self.known.get((dataset.product, dataset.major, dataset.name))
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
            raise DatabaseUnavailableError("What can be read here is older than what was asked for.")
        return head

    async def primary_has(self, dataset: Dataset, revision: int) -> bool:
        """Whether the primary has come so far."""
        place = (dataset.product, dataset.major, dataset.name)
        try:
            async with self.primary.connection() as connection:
                row = await (await connection.execute(PRIMARY_HEAD, place)).fetchone()
        except psycopg.Error as error:
            raise translate_error(error) from error
        return row is not None and row[0] >= revision

    async def refresh(self) -> None:
        """Reads all heads in a statement that begins after this call; calls that come at once share one."""
        if self.reading is not None and not self.reading.done():
            # It may have begun before what the caller knows of was committed.
            await asyncio.wait({self.reading})
        await self.confirm()

    async def confirm(self) -> None:
        """Reads all heads, or waits for the statement that reads them now."""
        if self.reading is None or self.reading.done():
            self.reading = asyncio.create_task(self.read_in_lane())
        await asyncio.shield(self.reading)

    async def read_in_lane(self) -> None:
        """Reads all heads over one of the lanes, in nobody's name: whoever waits for them shares the answer."""
        CALLING.set(ITSELF)
        try:
            async with self.lanes.connection() as connection:
                await self.read(connection)
        except psycopg.Error as error:
            raise translate_error(error) from error

    async def read(self, connection: AsyncConnection[Any]) -> None:
        """Reads all heads."""
        asked = time.monotonic()
        try:
            rows = await (await connection.execute(HEADS)).fetchall()
        except psycopg.errors.UndefinedTable:
            raise DatabaseUnavailableError("The database has no tables yet: run `decant migrate`.") from None
        self.known = {(text_of(row[0]), row[1], text_of(row[2])): Head(*row[3:-2]) for row in rows}
        self.from_replica = any(row[-2] for row in rows)
        self.epoch = text_of(rows[0][-1]) if rows else ""
        self.confirmed = asked

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
        """Reads the heads at each notification, and every few moments anyway."""
        connection = await PoolableConnection.connect(
            self.url, autocommit=True, application_name=f"{APPLICATION_NAME}-heads", connect_timeout=5
        )
        async with connection:
            await connection.configure({})
            # A pooler hands what is notified to whoever has that server connection then.
            listening = not connection.pooled
            if listening:
                try:
                    await connection.execute(f"LISTEN {REVISIONS_CHANNEL}".encode())
                except psycopg.errors.Error:
                    listening = False  # a replica takes no LISTEN
            while True:
                await self.read(connection)
                self.report(self.known)
                if listening:
                    with suppress(StopAsyncIteration):
                        await anext(connection.notifies(timeout=POLL_SECONDS, stop_after=1))
                else:
                    await asyncio.sleep(POLL_SECONDS)


def text_of(value: str | bytes) -> str:
    """A text that the read pool leaves as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def newest(heads: Iterable[Head]) -> datetime | None:
    """When the latest of several publications was."""
    moments = [head.published_at for head in heads if head.published_at is not None]
    return max(moments, default=None)
