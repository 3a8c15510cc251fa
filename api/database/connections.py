"""The read path's connections: one prepared statement, one row back, nothing in between.

The pool makes, renews and closes the connections; each that is lent out for good is a lane. Asking the pool anew for
every statement, and a cursor object for each, would cost three times what the statement itself costs here.
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
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from api.auth.caller import CALLING, FREE_SECONDS
from api.database.statement import Statement
from api.database.turns import Turns
from runtime.database import translate_error
from runtime.errors import DatabaseUnavailableError
from runtime.poolers import PoolableConnection

PREPARED_MAXIMUM = 300  # statements that one connection keeps prepared
NAME_DIGITS = 32  # of a prepared statement's name
ENCODING = "utf-8"
# A plan kept from before a migration, or a statement that a pooler between us dropped.
OUTDATED = (errors.FeatureNotSupported, errors.InvalidSqlStatementName)
# Whoever has waited in vain need not wait as long again.
WAITED = (PoolTimeout, errors.LockNotAvailable)


class Lane:
    """One connection, with what it has prepared."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
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
            await self.forget()
        connection = self.connection.pgconn
        # Named by what it says: whatever stands between us and the server, no name ever means another statement.
        name = b"decant_" + sha256(statement.text).hexdigest()[:NAME_DIGITS].encode()
        connection.send_prepare(name, statement.text)
        (result,) = await self.connection.wait(generators.execute(connection))
        if result.status != ExecStatus.COMMAND_OK:
            error = errors.error_from_result(result, ENCODING)
            if not isinstance(error, errors.DuplicatePreparedStatement):
                raise error
        self.prepared[statement] = name
        return name

    async def forget(self) -> None:
        """Drops every prepared statement."""
        self.prepared.clear()
        await self.connection.execute("DEALLOCATE ALL")


class PooledLane(Lane):
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

    async def forget(self) -> None:
        """Nothing is prepared."""


class Lanes:
    """The lanes of a process: at most `size`, opened as they are needed."""

    def __init__(self, pool: AsyncConnectionPool[Any], size: int, timeout_seconds: float) -> None:
        self.pool = pool
        self.timeout_seconds = timeout_seconds
        self.turns = Turns(size, what="connections to the database")
        self.open = 0
        self.free: list[Lane] = []
        self.transformer = Transformer()

    @property
    def in_use(self) -> int:
        """Lanes at work."""
        return self.open - len(self.free)

    @property
    def waiting(self) -> int:
        """Requests that wait for a lane."""
        return self.turns.length

    async def fetch(
        self, statement: Statement, values: Mapping[str, Any], *, costly: bool = False
    ) -> list[bytes | None] | None:
        """The one row of a statement; DatabaseError and its kin for whatever goes wrong.

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
                # The server closed an idle connection, or replay was in the way: to read twice harms nobody.
                return await self.try_fetch(statement, encoded, costly)
        except errors.Error as error:
            raise translate_error(error) from error

    async def try_fetch(self, statement: Statement, values: list[Any], costly: bool) -> list[bytes | None] | None:
        """One attempt, with the driver's own errors."""
        caller = CALLING.get()
        await self.turns.acquire(caller.name, costly, self.timeout_seconds)
        try:
            lane = self.free.pop() if self.free else await self.open_lane()
            began = perf_counter()
            try:
                row = await lane.run(statement, values)
            except OUTDATED:
                await self.give_back(lane, forget=True)
                raise
            except errors.Error:
                await self.give_back(lane)
                raise
            except BaseException:
                # Cut off in the middle: nobody knows what the connection would answer next.
                await self.discard(lane)
                raise
            finally:
                seconds = perf_counter() - began
                if seconds > FREE_SECONDS:
                    caller.charge(seconds)
            self.free.append(lane)
            return row
        finally:
            self.turns.give_back(caller.name, costly)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A lane's connection, for what is no single prepared row."""
        async with self.turns.turn(self.timeout_seconds):
            lane = self.free.pop() if self.free else await self.open_lane()
            try:
                yield lane.connection
            except errors.Error:
                await self.give_back(lane)
                raise
            except BaseException:
                await self.discard(lane)
                raise
            self.free.append(lane)

    async def open_lane(self) -> Lane:
        """One more lane."""
        self.open += 1
        try:
            connection = await self.pool.getconn(self.timeout_seconds)
            return PooledLane(connection) if connection.pooled else Lane(connection)
        except BaseException:
            self.open -= 1
            raise

    async def give_back(self, lane: Lane, *, forget: bool = False) -> None:
        """Keeps the lane if its connection is well, otherwise lets it go."""
        try:
            if forget:
                await lane.forget()
        finally:
            if lane.connection.closed or lane.connection.broken:
                await self.discard(lane)
                # What killed one connection has most often killed all that lay idle.
                while self.free:
                    await self.discard(self.free.pop())
            else:
                self.free.append(lane)

    async def discard(self, lane: Lane) -> None:
        """Closes the lane's connection and makes room for another."""
        self.open -= 1
        await lane.connection.close()
        await self.pool.putconn(lane.connection)

    async def close(self) -> None:
        """Gives every idle connection back to the pool."""
        while self.free:
            self.open -= 1
            await self.pool.putconn(self.free.pop().connection)

    def encode(self, value: Any) -> Any:
        """A value in the text form that Postgres reads."""
        if value is None:
            return None
        if isinstance(value, str):
            return value.encode()
        return self.transformer.get_dumper(value, PyFormat.TEXT).dump(value)
