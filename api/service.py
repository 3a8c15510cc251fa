"""What every route needs, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from psycopg_pool import AsyncConnectionPool

from api.auth import Authenticator, Principal
from api.event_store import EventStore
from api.problems import Problem
from api.reader import RecordReader
from catalog.contract import Catalog
from catalog.settings import Settings


@dataclass(frozen=True)
class Service:
    """The running service."""

    settings: Settings
    catalog: Catalog
    pool: AsyncConnectionPool[Any]
    authenticator: Authenticator
    reader: RecordReader
    events: EventStore

    async def authenticate(self, request: Request) -> Principal:
        """Who is calling; `key_in_url` where a credential stands in the address."""
        if b"dcnt_" in request.scope["query_string"]:
            raise Problem("key_in_url")
        return await self.authenticator.authenticate(request.headers)


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service
