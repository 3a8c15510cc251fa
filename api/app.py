"""The HTTP service: the only wiring."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api.auth import Authenticator
from api.event_store import EventStore
from api.openapi import build_document, render_document
from api.problems import install_problems
from api.reader import RecordReader
from api.routes import catalog as catalog_routes
from api.routes import docs, events, health, operations, quarantine, records
from api.service import Service
from catalog.contract import Catalog
from catalog.database import DatabaseUrls, make_read_pool, make_write_pool
from catalog.settings import Settings, read_secret
from catalog.tables import build_tables


def create_app(settings: Settings, urls: DatabaseUrls, catalog: Catalog) -> FastAPI:
    """The service over these contracts and this database; connections open when it starts."""
    secret = read_secret(settings)

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        pool = make_read_pool(urls.read, settings)
        # Not waited for: a service that starts before its database answers 503 until it is there.
        await pool.open(wait=False)
        write_pool = make_write_pool(urls.write, settings)
        await write_pool.open(wait=False)
        try:
            app.state.service = Service(
                settings=settings,
                catalog=catalog,
                pool=pool,
                authenticator=Authenticator(pool, secret),
                reader=RecordReader(pool, build_tables(catalog.products.values()), secret),
                events=EventStore(write_pool),
            )
            yield
        finally:
            await write_pool.close()
            await pool.close()

    app = FastAPI(
        lifespan=run,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Spans around our own functions would only repeat what the request's span says.
        telemetry={"operation_spans": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.openapi = render_document(build_document(catalog)).encode()
    install_problems(app)
    for module in (health, docs, catalog_routes, records, events, operations, quarantine):
        app.include_router(module.router)
    return app
