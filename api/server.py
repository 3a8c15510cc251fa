"""Runs the service with uvicorn."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn

from api.app import create_app
from catalog.contract import Catalog
from catalog.database import DatabaseUrls
from catalog.settings import Settings

SHUTDOWN_SECONDS = 10


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


def run_server(settings: Settings, urls: DatabaseUrls, catalog: Catalog, announce: Callable[[str], None]) -> None:
    """Serves until a signal ends it; `announce` gets the address when requests are taken."""
    config = uvicorn.Config(
        create_app(settings, urls, catalog),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=16_384,
    )
    AnnouncingServer(config, announce).run()
