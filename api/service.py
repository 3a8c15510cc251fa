"""What every route needs, in one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.types import Scope

from api.auth import Principal
from api.bodies import BodyMemory
from api.cache import PageCache
from api.callers import Callers
from api.documents import Documents
from api.event_store import EventStore
from api.exporting.files import ExportFiles
from api.exporting.source import ExportSource
from api.headers import StandingHeaders
from api.lanes import Lanes
from api.provenance import RawLookup
from api.reader import RecordReader
from api.usage import UsageLog
from api.views import Views
from catalog.contract import Catalog
from catalog.settings import Settings


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
