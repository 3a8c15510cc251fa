"""What every route needs, in one frozen value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from psycopg import AsyncConnection
from starlette.types import Scope

from api.auth.authenticator import Principal
from api.auth.identify import Callers
from api.database.answer_cache import PageCache
from api.database.connections import Lanes
from api.datasets.reader import RecordReader
from api.datasets.status_headers import StandingHeaders
from api.exports.kept_files import ExportFiles
from api.exports.snapshot import ExportSource
from api.http.body_memory import BodyMemory
from api.http.problems import Problem
from api.metadata.provenance import RawLookup
from api.observability.usage import UsageLog
from api.openapi.caller_documents import Documents
from api.push.event_store import EventStore
from api.query.view import Views
from catalog.model.catalog import Catalog
from runtime.database import translate_error
from runtime.settings import Settings


@dataclass(frozen=True)
class Service:
    """The running service."""

    settings: Settings
    catalog: Catalog
    lanes: Lanes
    callers: Callers
    usage: UsageLog
    views: Views
    documents: Documents
    reader: RecordReader
    cache: PageCache
    headers: StandingHeaders
    events: EventStore
    bodies: BodyMemory
    exports: ExportSource
    raw_lookup: RawLookup | None
    export_files: ExportFiles

    async def authenticate(self, request: Request) -> Principal:
        """Who is calling; a problem for whoever cannot be told, or asks too often."""
        return await self.identify(request.scope, request.headers)

    async def identify(self, scope: Scope, headers: Mapping[str, str]) -> Principal:
        """Who is calling; a problem for whoever cannot be told, or asks too often."""
        return await self.callers.identify(scope, headers)


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection on the write login, whose errors are ours."""
    try:
        async with service.events.pool.connection() as connection:
            yield connection
    except Problem:
        raise
    except Exception as error:
        raise translate_error(error) from error
