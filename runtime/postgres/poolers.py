"""Connections that may lead through a pooler, as PgBouncer in transaction mode.

Such a pooler gives each transaction whichever of its server connections is free. So nothing may be kept in a session:
a named prepared statement means another one on the next server connection, and a setting stays behind for others.
Through a pooler each statement is unnamed, and its settings hold for its transaction alone: both are sent as one
pipeline, which is one transaction.

A pooler is told by the number of the server's process: what the connection was given when it began is the pooler's
own invention. A pooler in session mode looks the same, and is served in the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg
import sqlalchemy as sa
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from runtime.errors import PoolerError

BACKEND = "SELECT pg_backend_pid()"
# The settings that the server knows, and those that only some logins may change.
FACTS = """
SELECT pg_backend_pid(), ARRAY(
  SELECT name FROM pg_settings WHERE name = ANY(%s) AND (context = 'user' OR has_parameter_privilege(name, 'SET'))
)
"""
SESSION_NAMES = {"transaction_read_only": "default_transaction_read_only"}  # what a transaction's setting is called
STARTUP_PARAMETER = "startup parameter"  # what PgBouncer refuses: it could not give it to a server connection
REFUSED = (
    "The database address of the login {user} leads through a connection pooler. Migrations, loads and"
    " the queue need sessions for locks and notifications: DECANT_DATABASE_URL and DECANT_INGEST_DATABASE_URL must"
    " be addresses of the server itself. DECANT_READ_DATABASE_URL and DECANT_WRITE_DATABASE_URL may lead through one."
)


class PoolableConnection(AsyncConnection):
    """A connection that works behind a pooler too, once `configure` has looked for one."""

    pooled = False
    local = b""  # the statement that makes the settings for one transaction

    async def configure(self, settings: Mapping[str, str]) -> None:
        """Looks for a pooler, and makes the settings, as far as the server and the login allow.

        They hold as long as the connection does; behind a pooler, in each transaction.
        """
        ((backend, names),) = await (await super().execute(FACTS, (list(settings),), prepare=False)).fetchall()
        chosen = {name: settings[name] for name in names}
        self.pooled = backend != self.info.backend_pid
        if self.pooled:
            self.prepare_threshold = None
            self.local = compose_settings(chosen, local=True).as_bytes(self)
        else:
            self.prepare_threshold = 0
            session = {SESSION_NAMES.get(name, name): value for name, value in chosen.items()}
            await super().execute(compose_settings(session, local=False), prepare=False)

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        """Runs a statement; behind a pooler in one transaction with its settings."""
        if not self.pooled or self.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return await super().execute(*arguments, **options)
        async with self.pipeline():
            await super().execute(self.local)
            return await super().execute(*arguments, **options)

    @asynccontextmanager
    async def transaction(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        """A transaction; behind a pooler it begins with its settings."""
        begins = self.pooled and self.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        async with super().transaction(*arguments, **options) as transaction:
            if begins:
                await super().execute(self.local)
            yield transaction


ConnectionPool: TypeAlias = AsyncConnectionPool[PoolableConnection]


def compose_settings(settings: Mapping[str, str], *, local: bool) -> sql.Composed:
    """The statement that makes settings, with `local` for the rest of a transaction."""
    calls: list[sql.Composable] = [
        sql.SQL("set_config({}, {}, {})").format(sql.Literal(name), sql.Literal(value), sql.Literal(local))
        for name, value in settings.items()
    ]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls or [sql.SQL("1")]))


def require_direct(connection: psycopg.Connection) -> None:
    """PoolerError where a connection leads through a pooler."""
    row = connection.execute(BACKEND, prepare=False).fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        raise PoolerError(REFUSED.format(user=connection.info.user))


def refuse_poolers(engine: sa.Engine) -> None:
    """Has every new connection of the engine looked at: PoolerError where it leads through a pooler."""

    def connect(dialect: Any, _record: object, arguments: Any, options: Any) -> psycopg.Connection:
        try:
            connection: psycopg.Connection = dialect.connect(*arguments, **options)
        except psycopg.OperationalError as error:
            if STARTUP_PARAMETER in str(error):
                raise PoolerError(REFUSED.format(user=engine.url.username or "of the system")) from error
            raise
        try:
            require_direct(connection)
        except BaseException:
            connection.close()
            raise
        connection.rollback()
        return connection

    sa.event.listen(engine, "do_connect", connect)
