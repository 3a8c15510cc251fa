"""Read connections: each request runs one prepared statement that returns one row.

The pool opens, renews and closes the connections; a read connection is one that is checked out permanently. To check
out a connection and to make a cursor for every statement would cost three times as much as the statement itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from time import perf_counter
from typing import Any

from psycopg import AsyncConnection, errors, generators
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus
from psycopg_pool import PoolTimeout

from api.auth.caller import CALLING, FREE_SECONDS
from api.database.statement import Statement
from api.database.turns import Turns
from runtime.errors import DatabaseUnavailableError
from runtime.postgres.database import translate_error
from runtime.postgres.poolers import ConnectionPool, PoolableConnection

PREPARED_MAXIMUM = 300  # statements that one connection keeps prepared
NAME_DIGITS = 32  # of a prepared statement's name
ENCODING = "utf-8"
# A plan kept from before a migration, or a statement that a pooler between us dropped.
OUTDATED = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
# A request whose wait timed out is not retried: it would wait as long again.
WAITED = (PoolTimeout, errors.LockNotAvailable)


class ReadConnection:
    """One connection, with what it has prepared."""

    def __init__(self, connection: PoolableConnection) -> None:
        self.connection = connection
        self.prepared: dict[Statement, bytes] = {}
        self.keeps_plans = False  # as the pool configures it

    async def run(self, statement: Statement, values: list[Any]) -> list[bytes | None] | None:
        """The one row of a statement, each column as Postgres sent it; None where there is no row."""
        if statement.keep_plan is not self.keeps_plans:
            mode = "auto" if statement.keep_plan else "force_custom_plan"
            await self.connection.execute(f"SET plan_cache_mode = {mode}".encode())
            self.keeps_plans = statement.keep_plan
        name = self.prepared.get(statement) or await self.prepare(statement)
        connection = self.connection.pgconn
        connection.send_query_prepared(name, values)
        (result,) = await self.connection.wait(generators.execute(connection))
        if result.status != ExecStatus.TUPLES_OK:
            raise errors.error_from_result(result, ENCODING)
        if result.ntuples == 0:
            return None
        return [result.get_value(0, column) for column in range(result.nfields)]

    async def prepare(self, statement: Statement) -> bytes:
        """The name under which the connection knows the statement from now on."""
        if len(self.prepared) >= PREPARED_MAXIMUM:
            await self.deallocate()
        connection = self.connection.pgconn
        # Named by its text: behind any proxy of the database, a name never means another statement.
        name = b"decant_" + sha256(statement.text).hexdigest()[:NAME_DIGITS].encode()
        connection.send_prepare(name, statement.text)
        (result,) = await self.connection.wait(generators.execute(connection))
        if result.status != ExecStatus.COMMAND_OK:
            error = errors.error_from_result(result, ENCODING)
            if not isinstance(error, errors.DuplicatePreparedStatement):
                raise error
        self.prepared[statement] = name
        return name

    async def deallocate(self) -> None:
        """Drops every prepared statement."""
        self.prepared.clear()
        await self.connection.execute("DEALLOCATE ALL")


class PooledReadConnection(ReadConnection):
    """A connection through a pooler, which may lead each transaction to another server connection."""

    connection: PoolableConnection

    async def run(self, statement: Statement, values: list[Any]) -> list[bytes | None] | None:
        """The one row of a statement, from a transaction of its own: its settings and itself, unnamed, at once."""
        connection = self.connection.pgconn
        connection.enter_pipeline_mode()
        connection.send_query_params(self.connection.local, None)
        connection.send_query_params(statement.text, values)
        connection.pipeline_sync()
        await self.connection.wait(generators.send(connection))
        # Of the settings, of the statement, and of the end of both.
        results = [(await self.connection.wait(generators.fetch_many(connection)))[0] for _ in range(3)]
        connection.exit_pipeline_mode()
        for result in results[:2]:
            if result.status != ExecStatus.TUPLES_OK:
                raise errors.error_from_result(result, ENCODING)
        result = results[1]
        if result.ntuples == 0:
            return None
        return [result.get_value(0, column) for column in range(result.nfields)]

    async def deallocate(self) -> None:
        """Nothing is prepared."""


class ReadConnections:
    """The read connections of a process: at most `size`, opened on demand."""

    def __init__(self, pool: ConnectionPool, size: int, timeout_seconds: float) -> None:
        self.pool = pool
        self.timeout_seconds = timeout_seconds
        self.turns = Turns(size, what="connections to the database")
        self.open = 0
        self.free: list[ReadConnection] = []
        self.transformer = Transformer()

    @property
    def in_use(self) -> int:
        """Read connections in use."""
        return self.open - len(self.free)

    @property
    def waiting(self) -> int:
        """Requests that wait for a read connection."""
        return self.turns.length

    async def fetch(
        self, statement: Statement, values: Mapping[str, object], *, costly: bool = False
    ) -> list[bytes | None] | None:
        """The one row of a statement; raises DatabaseError or a subclass on failure.

        A `costly` one waits among its like, and the database's time is charged to the caller's limit.
        """
        encoded = [self.encode(values[name]) for name in statement.names]
        try:
            try:
                return await self.try_fetch(statement, encoded, costly)
            except OUTDATED:
                return await self.try_fetch(statement, encoded, costly)
            except errors.OperationalError as error:
                if isinstance(error, WAITED) or not isinstance(translate_error(error), DatabaseUnavailableError):
                    raise
                # An idle connection was closed, or recovery cancelled the query. Reads are idempotent: retry once.
                return await self.try_fetch(statement, encoded, costly)
        except errors.Error as error:
            raise translate_error(error) from error

    async def try_fetch(self, statement: Statement, values: list[object], costly: bool) -> list[bytes | None] | None:
        """One attempt, with the driver's own errors."""
        caller = CALLING.get()
        await self.turns.acquire(caller.name, costly, self.timeout_seconds)
        try:
            read_connection = self.free.pop() if self.free else await self.open_connection()
            began = perf_counter()
            try:
                row = await read_connection.run(statement, values)
            except OUTDATED:
                await self.give_back(read_connection, forget=True)
                raise
            except errors.Error:
                await self.give_back(read_connection)
                raise
            except BaseException:
                # Interrupted mid-statement: the state of the connection is undefined, so it is discarded.
                await self.discard(read_connection)
                raise
            finally:
                seconds = perf_counter() - began
                if seconds > FREE_SECONDS:
                    caller.charge(seconds)
            self.free.append(read_connection)
            return row
        finally:
            self.turns.give_back(caller.name, costly)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A read connection for anything but a single prepared row."""
        async with self.turns.turn(self.timeout_seconds):
            read_connection = self.free.pop() if self.free else await self.open_connection()
            try:
                yield read_connection.connection
            except errors.Error:
                await self.give_back(read_connection)
                raise
            except BaseException:
                await self.discard(read_connection)
                raise
            self.free.append(read_connection)

    async def open_connection(self) -> ReadConnection:
        """Opens one more read connection."""
        self.open += 1
        try:
            connection = await self.pool.getconn(self.timeout_seconds)
            return PooledReadConnection(connection) if connection.pooled else ReadConnection(connection)
        except BaseException:
            self.open -= 1
            raise

    async def give_back(self, read_connection: ReadConnection, *, forget: bool = False) -> None:
        """Returns a healthy read connection to the free list; discards a broken one."""
        try:
            if forget:
                await read_connection.deallocate()
        finally:
            if read_connection.connection.closed or read_connection.connection.broken:
                await self.discard(read_connection)
                # What killed one connection has most often killed all that lay idle.
                while self.free:
                    await self.discard(self.free.pop())
            else:
                self.free.append(read_connection)

    async def discard(self, read_connection: ReadConnection) -> None:
        """Closes the read connection and frees its slot."""
        self.open -= 1
        await read_connection.connection.close()
        await self.pool.putconn(read_connection.connection)

    async def close(self) -> None:
        """Gives every idle connection back to the pool."""
        while self.free:
            self.open -= 1
            await self.pool.putconn(self.free.pop().connection)

    def encode(self, value: object) -> object:
        """A value in the text form that Postgres reads."""
        if value is None:
            return None
        if isinstance(value, str):
            return value.encode()
        return self.transformer.get_dumper(value, PyFormat.TEXT).dump(value)
