"""The demo's worker: runs what is queued over HTTP, beside the service and in its process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalog.model.catalog import Catalog
    from runtime.postgres.database import DatabaseUrls
    from runtime.settings.settings import Settings

STOP_SECONDS = 10.0


@contextmanager
def working(settings: Settings, catalog: Catalog, urls: DatabaseUrls) -> Iterator[None]:
    """A worker runs as long as the context lasts; loads that are running then are taken up by the next one."""
    from ingest.worker.worker import Worker

    stop = asyncio.Event()
    loop = asyncio.new_event_loop()
    worker = Worker(settings, catalog, urls.ingest)
    thread = threading.Thread(target=run_loop, args=(loop, worker.run(stop)), daemon=True)
    with closing(worker):
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(STOP_SECONDS)


def run_loop(loop: asyncio.AbstractEventLoop, work: object) -> None:
    """Runs the work in its loop until it ends."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work)  # type: ignore[arg-type]
