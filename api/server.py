"""Runs the service with uvicorn: in this process, or in several that share one listening socket."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from api.metadata.provenance import RawLookup
from api.observability.access_log import AccessLog
from api.wire.bounded_protocol import BoundedProtocol, ServiceConfig
from catalog.contract.load import load_catalog
from catalog.model.catalog import Catalog
from runtime.garbage import collect_seldom, leave_out_what_exists
from runtime.postgres.child_processes import end_with_parent
from runtime.postgres.database import DatabaseUrls, open_database
from runtime.settings.settings import Settings, load_settings
from runtime.telemetry import open_telemetry

SHUTDOWN_SECONDS = 10
HEALTH_CHECK_SECONDS = 30  # how long a process may be silent before another takes its place
BACKLOG = 2048  # connections that wait to be taken
# prometheus_client reads it when it is imported: where processes put what they have counted.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class AnnouncingServer(uvicorn.Server):
    """Says where it listens once it does: with port 0 nobody knows before."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self.announce = announce

    async def startup(self, *args: object, **kwargs: object) -> None:
        """Starts, then announces the address."""
        await super().startup(*args, **kwargs)  # type: ignore[arg-type]
        for server in getattr(self, "servers", []):
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                self.announce(f"http://{host}:{port}")
                return


def run_server(
    settings: Settings,
    urls: DatabaseUrls,
    catalog: Catalog,
    announce: Callable[[str], None],
    *,
    raw_lookup: RawLookup | None = None,
) -> None:
    """Serves in this process until a signal ends it; `announce` gets the address when requests are taken."""
    app = build_app(settings, urls, catalog, raw_lookup)
    AnnouncingServer(make_config(app, settings), announce).run()


def run_workers(
    settings: Settings, urls: DatabaseUrls, announce: Callable[[str], None], workers: int, factory: str
) -> None:
    """Serves in several processes until a signal ends them; one that dies is replaced.

    `factory` names the function that makes the service in each of them, such as `api.server:make_app`.
    """
    config = make_config(factory, settings, factory=True, workers=workers)
    with passed_on(settings, urls), closing_socket(config) as socket:
        # From now on connections wait instead of being refused, whichever process takes them.
        socket.listen(BACKLOG)
        host, port = socket.getsockname()[:2]
        announce(f"http://{host}:{port}")
        Multiprocess(config, sockets=[socket]).run()


def make_app(make_lookup: Callable[[Settings], RawLookup] | None = None) -> FastAPI:
    """The service in a process that `run_workers` started; everything comes from the environment."""
    # Killing the first process is meant for all: one that went on would keep the address from the next service.
    end_with_parent(signal.SIGTERM)
    collect_seldom()
    settings = load_settings()
    lookup = make_lookup(settings) if make_lookup is not None else None
    stack = ExitStack()
    atexit.register(stack.close)
    stack.enter_context(open_telemetry("decant"))
    urls = stack.enter_context(open_database(settings))
    return build_app(settings, urls, load_catalog(settings), lookup)


def build_app(settings: Settings, urls: DatabaseUrls, catalog: Catalog, raw_lookup: RawLookup | None) -> FastAPI:
    """The service of a process that does nothing else."""
    from api.app import create_app

    # Once it is open, what it is made of exists, such as the tables of all datasets.
    app = create_app(settings, urls, catalog, raw_lookup, opened=leave_out_what_exists)
    if settings.access_log:
        app.state.access_log = AccessLog(sys.stderr)
    return app


def make_config(app: Any, settings: Settings, **more: Any) -> ServiceConfig:
    """How uvicorn runs the service."""
    config = ServiceConfig(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        access_log=False,
        log_config=None,  # one format for all lines, set where the process starts
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # trusted proxies are decided in api/auth/rate_limits.py
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_worker_healthcheck=HEALTH_CHECK_SECONDS,
        **more,
    )
    config.limits = settings
    return config


@contextmanager
def closing_socket(config: uvicorn.Config) -> Iterator[Any]:
    """The socket that all processes listen on."""
    socket = config.bind_socket()
    try:
        yield socket
    finally:
        socket.close()


@contextmanager
def passed_on(settings: Settings, urls: DatabaseUrls) -> Iterator[None]:
    """Puts into the environment what the processes need, and a folder where they put their figures."""
    folder = tempfile.mkdtemp(prefix="decant-metrics-")
    wanted = {
        "DECANT_HOME": str(settings.home),
        "DECANT_CONTRACTS": str(settings.contracts),
        "DECANT_DATABASE_URL": urls.owner,
        "DECANT_INGEST_DATABASE_URL": urls.ingest,
        "DECANT_READ_DATABASE_URL": urls.read,
        "DECANT_WRITE_DATABASE_URL": urls.write,
        METRICS_VARIABLE: folder,
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)
