"""Worker supervision: signals, database outages, exit messages."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from time import monotonic, sleep

import psycopg
from procrastinate.exceptions import ProcrastinateException
from psycopg_pool import PoolTimeout

from catalog.model.catalog import Catalog
from ingest.worker.worker import LOGGER, Worker
from runtime.errors import CatalogError, PoolerError
from runtime.logs import log
from runtime.postgres.database import DatabaseUrls
from runtime.postgres.embedded_site import EmbeddedPostgresError
from runtime.postgres.poolers import require_direct
from runtime.settings.settings import Settings

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
HEALTHY_SECONDS = 60.0  # a worker that ran for so long starts anew at once
OUTAGES = (psycopg.Error, PoolTimeout, ProcrastinateException, CatalogError, OSError)

OpenUrls = Callable[[Settings], AbstractContextManager[DatabaseUrls]]


def keep_working(settings: Settings, catalog: Catalog, open_urls: OpenUrls) -> None:
    """Works until a signal says stop. A database that goes away is waited for, as often and as long as it takes.

    The logins are opened anew each time: an embedded server that somebody else had started may be another one now.
    """
    pause = FIRST_PAUSE_SECONDS
    worker: Worker | None = None
    while True:
        started_at = monotonic()
        try:
            with open_urls(settings) as urls:
                # Soon known, where a pool would try for half a minute.
                with psycopg.connect(urls.ingest, connect_timeout=5) as connection:
                    require_direct(connection)
                worker = Worker(settings, catalog, urls.ingest)
                with closing(worker):
                    asyncio.run(run_until_signal(worker))
                if not worker.lost.is_set():
                    break
        except PoolerError:
            raise
        except EmbeddedPostgresError:
            if worker is None:
                raise
        except OUTAGES as error:
            log(LOGGER, "database_unavailable", logging.ERROR, error=type(error).__name__)
        if worker is not None:
            catalog = worker.dispatcher.catalog
        if monotonic() - started_at > HEALTHY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        log(LOGGER, "worker_restarts", logging.WARNING, in_seconds=pause)
        sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
    left = len(worker.running)
    log(LOGGER, "worker_stopped", left_running=left or None)
    if left:
        # Their threads would hold up the exit, or be torn apart by it. The next worker takes these loads up.
        sys.stderr.flush()
        os._exit(0)


def work_once(settings: Settings, catalog: Catalog, open_urls: OpenUrls) -> dict[str, int]:
    """Runs what is due until nothing is; how many loads ended in each way."""
    with open_urls(settings) as urls:
        worker = Worker(settings, catalog, urls.ingest)
        with closing(worker):
            asyncio.run(worker.run_once())
    return worker.ended


async def run_until_signal(worker: Worker) -> None:
    """Works until a signal comes, or the worker has lost its database."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle_signal(number: signal.Signals) -> None:
        if stop.is_set():
            log(LOGGER, "worker_ended_at_once", logging.WARNING, running=len(worker.running))
            sys.stderr.flush()
            # The kernel signals an embedded server that its starter is gone.
            os._exit(128 + number)
        running = len(worker.running)
        log(LOGGER, "worker_stopping", running=running, up_to_seconds=worker.settings.worker_stop_seconds)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle_signal, number)
    await worker.run(stop)
