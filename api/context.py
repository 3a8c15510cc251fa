"""The shared dependencies of all routes, in one frozen value; each folder keeps its own dependencies itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from psycopg import AsyncConnection
from starlette.types import Scope

from api.auth.authenticator import Principal
from api.auth.identify import Callers
from api.database.connections import ReadConnections
from api.http.problems import Problem
from api.observability.usage import UsageLog
from api.query.view import Views
from catalog.model.catalog import Catalog
from runtime.postgres.database import translate_error
from runtime.postgres.poolers import ConnectionPool
from runtime.settings.settings import Settings


@dataclass(frozen=True)
class Context:
    """The settings, the contracts, the ways to the database, and who calls."""

    settings: Settings
    catalog: Catalog
    read_connections: ReadConnections
    write_pool: ConnectionPool
    callers: Callers
    usage: UsageLog
    views: Views

    async def authenticate(self, request: Request) -> Principal:
        """The caller; a problem for an unknown one, or one over its rate limit."""
        return await self.identify(request.scope, request.headers)

    async def identify(self, scope: Scope, headers: Mapping[str, str]) -> Principal:
        """The caller; a problem for an unknown one, or one over its rate limit."""
        return await self.callers.identify(scope, headers)


def context_of(request: Request) -> Context:
    """The context of the application that a request came to."""
    context: Context = request.app.state.context
    return context


@asynccontextmanager
async def connected(context: Context) -> AsyncIterator[AsyncConnection]:
    """A connection on the write login, whose errors are ours."""
    try:
        async with context.write_pool.connection() as connection:
            yield connection
    except Problem:
        raise
    except Exception as error:
        raise translate_error(error) from error
