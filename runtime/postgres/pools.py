"""Pools of the API's connections: each with its login, its limits and its size."""

from __future__ import annotations

from typing import Any

from psycopg.adapt import Loader
from psycopg_pool import AsyncConnectionPool

from runtime.postgres.database import APPLICATION_NAME
from runtime.postgres.poolers import ConnectionPool, PoolableConnection
from runtime.settings.settings import Settings

WRITE_TIMEOUT_SECONDS = 10  # for one statement of a request that writes
TRANSACTION_SLACK_MS = 10_000  # beyond what one statement may take


class BytesLoader(Loader):
    """Leaves text as the bytes that Postgres sent: finished JSON goes out as it came."""

    def load(self, data: Any) -> bytes:
        """The bytes of one value."""
        return bytes(data)


def make_read_pool(url: str, settings: Settings) -> ConnectionPool:
    """A pool of read-only connections in autocommit; not yet open."""
    wanted = {
        "transaction_read_only": "on",
        "statement_timeout": f"{settings.query_timeout_ms}ms",
        "lock_timeout": "1s",
        "idle_in_transaction_session_timeout": "30s",
        # Known from PostgreSQL 17 on.
        "transaction_timeout": f"{settings.query_timeout_ms + TRANSACTION_SLACK_MS}ms",
        # A plan made for any revision reads all of history for one page: 62 to 199 ms instead of 0.5.
        "plan_cache_mode": "force_custom_plan",
        "TimeZone": "UTC",
        "jit": "off",
        # A turn is one process of the server: one caller's costly question does not take what others wait for.
        "max_parallel_workers_per_gather": "0",
        # A login may set it where `decant migrate` could grant that, which takes a superuser.
        "temp_file_limit": f"{settings.query_temp_mb}MB",
    }

    async def configure(connection: PoolableConnection) -> None:
        await connection.configure(wanted)
        connection.adapters.register_loader("text", BytesLoader)
        connection.prepared_max = 500

    return AsyncConnectionPool(
        url,
        connection_class=PoolableConnection,
        kwargs={"autocommit": True, "application_name": f"{APPLICATION_NAME}-read", "connect_timeout": 5},
        configure=configure,
        # Each is lent out for long: to ask whether it still lives costs nothing beside what it answers then.
        check=AsyncConnectionPool.check_connection,
        min_size=min(2, settings.read_pool_size),
        max_size=settings.read_pool_size,
        timeout=settings.pool_timeout_ms / 1000,
        max_waiting=1000,
        open=False,
        name="read",
    )


def make_write_pool(url: str, settings: Settings) -> ConnectionPool:
    """A pool of connections on the API's second login, which adds and hardly changes; not yet open."""
    return make_second_pool(url, settings, "write", sizes=(1, settings.write_pool_size), idle_seconds=30)


def make_lock_pool(url: str, settings: Settings) -> ConnectionPool:
    """A pool of connections on the same login that hold a lock while an export is built; not yet open.

    It opens none before it is asked for one. A lock whose host is lost lasts no longer than an export may.
    """
    idle_seconds = settings.export_timeout_seconds
    return make_second_pool(url, settings, "lock", sizes=(0, settings.exports_at_once), idle_seconds=idle_seconds)


def make_second_pool(
    url: str, settings: Settings, name: str, *, sizes: tuple[int, int], idle_seconds: float
) -> ConnectionPool:
    """A pool of the API's second login; a transaction may be idle for some seconds."""
    wanted = {
        "statement_timeout": f"{WRITE_TIMEOUT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{int(idle_seconds * 1000)}ms",
        "TimeZone": "UTC",
        "jit": "off",
    }

    async def configure(connection: PoolableConnection) -> None:
        await connection.configure(wanted)

    return AsyncConnectionPool(
        url,
        connection_class=PoolableConnection,
        kwargs={"autocommit": True, "application_name": f"{APPLICATION_NAME}-{name}", "connect_timeout": 5},
        configure=configure,
        min_size=sizes[0],
        max_size=sizes[1],
        timeout=settings.pool_timeout_ms / 1000,
        max_waiting=1000,
        open=False,
        name=name,
    )
