"""Locks in Postgres by which hosts without a common disk build each export once.

A lock ends with its holder: a builder that was killed is replaced at once, one whose host is lost when the
transaction has been idle for too long, and nothing is left to be renewed or cleared away. It belongs to a
transaction, not to a session, and so works behind a pooler, too. The transaction has no snapshot while it waits, and
keeps nothing from being vacuumed.

A lock only saves work. Where none can be had, because the database is away or somebody holds it for too long, whoever
asks builds all the same: of two that build at once, the first one's file is that of both.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psycopg
from psycopg_pool import PoolTimeout

from runtime.logs import log
from runtime.postgres.poolers import ConnectionPool

LOCK_KEY = "SELECT pg_try_advisory_xact_lock(%s)"
POLL_SECONDS = 0.25
LOG = logging.getLogger("decant.exports")


class BuildLocks:
    """Locks by key, each of one holder among all hosts."""

    def __init__(self, pool: ConnectionPool, wait_seconds: float) -> None:
        self.pool = pool
        self.wait_seconds = wait_seconds  # for another holder

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """The lock of a key, waited for; without it where it cannot be had."""
        held = await self.wait(lock_number(key))
        try:
            yield
        finally:
            if held is not None:
                # A connection that was lost has lost its lock, too.
                with suppress(psycopg.Error):
                    await held.aclose()

    async def wait(self, number: int) -> AsyncExitStack | None:
        """What holds the lock until it is closed; None where it cannot be had."""
        deadline = time.monotonic() + self.wait_seconds
        try:
            while (held := await self.take(number)) is None and time.monotonic() < deadline:
                await asyncio.sleep(POLL_SECONDS)
        except (psycopg.Error, PoolTimeout) as error:
            log(LOG, "exports_not_locked", logging.WARNING, reason=error)
            return None
        if held is None:
            log(LOG, "exports_not_locked", logging.WARNING, reason=f"another host holds it for {self.wait_seconds} s")
        return held

    async def take(self, number: int) -> AsyncExitStack | None:
        """What holds the lock until it is closed; None where somebody else holds it.

        Whoever waits holds no connection meanwhile: there are as many as exports may run.
        """
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self.pool.connection())
            await stack.enter_async_context(connection.transaction())
            row = await (await connection.execute(LOCK_KEY, (number,))).fetchone()
            if row is not None and row[0]:
                return stack.pop_all()
        return None


def lock_number(key: str) -> int:
    """The lock of a key: 64 bits, as advisory locks have."""
    return int.from_bytes(hashlib.sha256(f"export\n{key}".encode()).digest()[:8], signed=True)
