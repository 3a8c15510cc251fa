"""The HTTP service: the only wiring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.datastructures import State
from starlette.middleware.cors import CORSMiddleware

from api.admin import audit_routes as audit
from api.admin import erasure_routes as erasures
from api.admin import health_routes as health
from api.admin import key_routes as keys
from api.admin import load_routes as operations
from api.admin import quarantine_routes as quarantine
from api.admin import reject_routes as rejects
from api.admin import status_routes as status
from api.admin import subscription_routes as subscriptions
from api.auth.api_keys import read_peppers
from api.auth.authenticator import Authenticator
from api.auth.identify import Callers
from api.auth.jwt import TokenVerifier
from api.auth.rate_limits import Limiter
from api.auth.sessions import Sessions
from api.context import Context
from api.database.answer_cache import PageCache
from api.database.connections import ReadConnections
from api.database.published_heads import DatasetKey, Head, Heads
from api.datasets.endpoint import make_route
from api.datasets.reader import RecordReader
from api.datasets.resources import DatasetResources
from api.datasets.status_headers import StatusHeaders
from api.exports.build_locks import BuildLocks
from api.exports.kept_files import ExportFiles
from api.exports.resources import ExportResources
from api.exports.snapshot import ExportSource
from api.following.followers import Followers
from api.following.rights import Rights
from api.http.body_memory import BodyMemory
from api.http.cors import cors_options
from api.http.problems import install_problems
from api.kinds import KINDS
from api.metadata import catalog_routes
from api.metadata import inspection_routes as inspection
from api.metadata.catalog_search import CatalogSearch
from api.metadata.lineage import Lineages
from api.metadata.provenance import Provenance, RawLookup
from api.observability.metrics import show_state
from api.observability.middleware import Counting
from api.observability.usage import UsageLog
from api.openapi import routes as docs
from api.openapi.caller_documents import Documents
from api.portal import routes as portal
from api.portal.charts.drawing import DRAWER
from api.portal.reports.folder import ReportFolder
from api.portal.unknown import show_missing
from api.push import routes as events
from api.push.body_parser import BodyParser
from api.push.event_store import EventStore
from api.push.intake import Intake
from api.query.view import Views
from api.unrouted_path import guard_unrouted_path
from api.wire.connections import connections_limit
from catalog.model.catalog import Catalog
from catalog.storage.dataset_tables import build_tables
from runtime.postgres.database import DatabaseUrls
from runtime.postgres.pools import make_lock_pool, make_read_pool, make_write_pool
from runtime.settings.secret import read_secret
from runtime.settings.settings import Settings
from runtime.telemetry import exports_spans

PAGE, *OTHERS = map(make_route, KINDS)
# Pages are asked for most. A key may be a path: routes below a record come before the record.
QUESTIONS = (PAGE, inspection.PROVENANCE, *OTHERS)


class Service:
    """What a running service is made of; opened when it starts, closed when it ends."""

    def __init__(
        self, settings: Settings, urls: DatabaseUrls, catalog: Catalog, raw_lookup: RawLookup | None
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.raw_lookup = raw_lookup
        self.read_url = urls.read
        self.pool = make_read_pool(urls.read, settings)
        self.write_pool = make_write_pool(urls.write, settings)
        self.read_connections = ReadConnections(self.pool, settings.read_pool_size, settings.pool_timeout_ms / 1000)
        self.cache = PageCache(settings.cache_bytes)
        self.lock_pool = make_lock_pool(urls.write, settings)
        self.export_files = ExportFiles(settings, BuildLocks(self.lock_pool, settings.export_timeout_seconds))
        self.datasets = {(dataset.product, dataset.major, dataset.name): dataset for dataset in catalog.datasets()}
        self.heads = Heads(self.read_connections, self.write_pool, urls.read, self.report)
        self.verifier = TokenVerifier(settings.token_issuers)
        self.usage = UsageLog(self.write_pool)
        self.views = Views(
            build_tables(catalog.products.values()),
            {product.schema: product.sha256 for product in catalog.products.values()},
            read_secret(settings),
            settings.url_limit_bytes,
        )
        self.documents = Documents(catalog, self.views, settings)
        self.parser = BodyParser()
        self.followers: Followers | None = None  # from when it is open
        self.tasks: list[asyncio.Task[None]] = []

    def report(self, read: Mapping[DatasetKey, Head]) -> None:
        """Shows the service's state as metrics, and removes exports of revisions that have ended."""
        number = 0
        if self.followers is not None:
            self.followers.note(read)
            number = self.followers.number
        show_state(self.cache.bytes, self.read_connections.in_use, self.read_connections.waiting, number)
        for key, head in read.items():
            if (dataset := self.datasets.get(key)) is not None:
                self.export_files.forget_ended(dataset, self.heads.epoch, head)

    async def open(self, state: State) -> None:
        """Opens connections, starts what runs beside requests, and hands each folder of routes what it needs."""
        settings, catalog = self.settings, self.catalog
        # Not waited for: a service that starts before its database answers 503 until it is there.
        await self.pool.open(wait=False)
        await self.write_pool.open(wait=False)
        await self.lock_pool.open(wait=False)
        authenticator = Authenticator(self.write_pool, read_peppers(settings), self.verifier)
        sessions = Sessions(self.write_pool, authenticator)
        callers = Callers(settings, catalog, sessions, Limiter(self.write_pool))
        rights = Rights(catalog, self.views, authenticator)
        # Half of the connections are left for requests that end.
        most = min(settings.followers_limit, connections_limit(settings) // 2)
        state.followers = self.followers = Followers(settings, self.heads, rights, most)
        running = (self.heads.run(), self.usage.run(), self.followers.run())
        self.tasks = [asyncio.create_task(each) for each in running]
        reader = RecordReader(self.read_connections, self.heads)
        bodies = BodyMemory(settings.events_memory_bytes, settings.events_limit_bytes)
        state.context = Context(
            settings, catalog, self.read_connections, self.write_pool, callers, self.usage, self.views
        )
        links = tuple(kind.path for kind in KINDS if kind.linked)
        state.datasets = DatasetResources(reader, StatusHeaders(catalog, settings), self.cache, links)
        state.exports = ExportResources(ExportSource(self.read_url, settings), self.export_files)
        state.intake = Intake(EventStore(self.write_pool), bodies, self.parser)
        state.provenance = Provenance(settings, reader, self.raw_lookup)
        state.catalog_search = CatalogSearch(catalog)
        state.lineages = Lineages(catalog)
        state.documents = self.documents
        state.reports = ReportFolder(settings.reports)

    async def close(self) -> None:
        """Ends what `open` began, in the reverse order."""
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.documents.close()
        await self.parser.close()
        DRAWER.close()
        await self.usage.flush()
        await self.verifier.close()
        await self.read_connections.close()
        await self.lock_pool.close()
        await self.write_pool.close()
        await self.pool.close()


def create_app(
    settings: Settings,
    urls: DatabaseUrls,
    catalog: Catalog,
    raw_lookup: RawLookup | None = None,
    *,
    opened: Callable[[], None] | None = None,
) -> FastAPI:
    """The service over these contracts and this database; connections open when it starts.

    `opened` is called once it has started, before the first request.
    """
    # Before the service starts: without a secret, or with one that cannot be read, it does not.
    read_secret(settings)
    read_peppers(settings)

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        service = Service(settings, urls, catalog, raw_lookup)
        try:
            await service.open(app.state)
            if opened is not None:
                opened()
            yield
        finally:
            if app.state.access_log is not None:
                app.state.access_log.flush()
            await service.close()

    app = FastAPI(
        lifespan=run,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # An address with a slash too many is another one: to lead on would answer before anybody is known.
        redirect_slashes=False,
        # Spans around our own functions would only repeat what the request's span says.
        telemetry={
            "tracing": exports_spans(),
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        },
    )
    app.state.access_log = None  # optional
    app.state.settings = settings
    install_problems(app, guard_unrouted_path, show_missing)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **cors_options(settings))
    app.add_middleware(Counting)
    # First, for they are asked most: routes are tried in order.
    app.router.routes.extend(QUESTIONS)
    operators = (operations, status, rejects, quarantine, erasures, audit, keys, subscriptions)
    for module in (health, docs, inspection, catalog_routes, events, *operators, portal):
        app.include_router(module.router)
    return app
