"""The worker: runs due loads until it is stopped.

Several things run beside each other. Procrastinate's workers, in the event loop, take jobs; a load runs in a thread
of its own, so that the loop stays free for heartbeats and signals. One thread sweeps the ledger, on every hint and
every half second. Others ask the watched inputs for news, make profiles, send events to webhooks and messages to
people. Whichever of them loses the database, all start anew.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import procrastinate
import psycopg
import sqlalchemy as sa

from catalog.contract.load import load_catalog
from catalog.model.catalog import Catalog
from catalog.model.schedule import next_tick, scheduled_datasets
from catalog.storage.dataset_tables import build_tables
from catalog.storage.installation_tables import STALLED_SECONDS
from ingest.cleaning.published_snapshot import delete_outdated_copies
from ingest.delivery.deliverer import Deliverer
from ingest.inspection.column_statistics import refresh_profiles
from ingest.ledger.outbox import number_events
from ingest.ledger.queue import (
    EVENTS_QUEUE,
    HEARTBEAT_SECONDS,
    LOADS_QUEUE,
    POLLING_SECONDS,
    make_queue,
)
from ingest.loading.loader import Loader
from ingest.loading.run_queued import run_queued
from ingest.notifying.notifier import Notifier
from ingest.worker.dispatch import Dispatcher, Swept
from ingest.worker.housekeeping import run_housekeeping
from ingest.worker.presence import keep_present
from ingest.worker.threads import SWEEP_SECONDS, in_thread, listen, log_failure, wait_for
from ingest.worker.watch_inputs import find_due_inputs, find_new_data
from ingest.worker.watch_streams import close_connections
from runtime.errors import CatalogError
from runtime.logs import log
from runtime.postgres.database import make_engine
from runtime.settings.settings import Settings

EVENTS_CONCURRENCY = 2
OUTAGE_SECONDS = 5.0  # without the database: then everything starts anew
HOUSEKEEPING_SECONDS = 3600.0
COPIES_SECONDS = 60.0  # between two looks for copies of what was erased from the bucket
PROFILE_SECONDS = 2.0  # between two looks for datasets without a profile of their revision
STREAM_SECONDS = 0.4  # from one look at a stream to the next
RELOAD_SECONDS = 5.0  # between two looks at contracts that are not the migrated ones

LOGGER = logging.getLogger("decant.worker")


class Worker:
    """One process's share of the work, on one database."""

    def __init__(self, settings: Settings, catalog: Catalog, url: str) -> None:
        self.settings = settings
        self.url = url
        self.engine = make_engine(url, keep=True)
        self.dispatcher = Dispatcher(self.engine, catalog)
        self.loader = Loader(settings, catalog, build_tables(catalog.products.values()), self.engine)
        self.deliverer = Deliverer(settings, self.engine, lambda: self.dispatcher.catalog)
        self.notifier = Notifier(settings, self.engine, lambda: self.dispatcher.catalog)
        self.stopping = threading.Event()  # no new loads
        self.lost = threading.Event()  # the database is gone
        self.running: set[int] = set()
        self.ended: dict[str, int] = {}  # loads by how they ended
        self.reloaded_at = 0.0
        self.warned: set[str] = set()

    def announce(self) -> None:
        """Logs what the worker is there for."""
        now = datetime.now(UTC)
        catalog = self.dispatcher.catalog
        scheduled = list(scheduled_datasets(catalog))
        log(
            LOGGER,
            "worker_started",
            datasets=len(catalog.datasets()),
            concurrency=self.settings.worker_concurrency,
            scheduled=len(scheduled),
            next_schedule=min((next_tick(cron, now) for _, cron in scheduled), default=None),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set or the database is gone; `lost` says which."""
        app = make_queue(self.url, self.settings.worker_concurrency + EVENTS_CONCURRENCY, self.run_job)
        chores = (self.keep_sweeping, self.keep_watching, self.keep_streaming, self.keep_profiling)
        tellers = (self.deliverer.keep_delivering, self.notifier.keep_notifying)
        helpers = [threading.Thread(target=call, daemon=True) for call in chores]
        helpers += [threading.Thread(target=tell, args=(self.stopping,), daemon=True) for tell in tellers]
        async with app.open_async(), self.present():
            self.announce()
            for helper in helpers:
                helper.start()
            queue_workers = [
                asyncio.create_task(self.work_queue(app, LOADS_QUEUE, self.settings.worker_concurrency)),
                asyncio.create_task(self.work_queue(app, EVENTS_QUEUE, EVENTS_CONCURRENCY)),
            ]
            stopped = asyncio.create_task(stop.wait())
            lost = asyncio.create_task(wait_for(self.lost))
            await asyncio.wait([*queue_workers, stopped, lost], return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                self.lost.set()
            self.stopping.set()
            for task in (*queue_workers, stopped, lost):
                task.cancel()
            results = await asyncio.gather(*queue_workers, return_exceptions=True)
            for error in results:
                if isinstance(error, Exception):
                    log(LOGGER, "queue_lost", logging.ERROR, error=type(error).__name__)

    @asynccontextmanager
    async def present(self) -> AsyncIterator[None]:
        """Says to others that this worker is alive."""
        with keep_present(self.engine, self.settings.worker_concurrency):
            yield

    def close(self) -> None:
        """Closes the connections that are kept between sweeps and loads."""
        self.engine.dispose()
        close_connections()

    async def run_once(self) -> None:
        """Works until nothing is due."""
        app = make_queue(self.url, self.settings.worker_concurrency + EVENTS_CONCURRENCY, self.run_job)
        async with app.open_async(), self.present():
            while True:
                swept = await in_thread(lambda: self.sweep(find_new_data(self.loader)))
                if not swept.deferred:
                    await in_thread(self.profile)
                    number_events(self.engine)
                    await in_thread(lambda: self.deliverer.deliver_due(datetime.now(UTC)))
                    await in_thread(self.notifier.run_round)
                    return
                await asyncio.gather(
                    self.work_queue(app, LOADS_QUEUE, self.settings.worker_concurrency, wait=False),
                    self.work_queue(app, EVENTS_QUEUE, EVENTS_CONCURRENCY, wait=False),
                )

    async def work_queue(self, app: procrastinate.App, queue: str, concurrency: int, *, wait: bool = True) -> None:
        """Takes jobs from one queue until it is cancelled; then running loads have their time to end."""
        await app.run_worker_async(
            queues=[queue],
            name=queue,
            concurrency=concurrency,
            wait=wait,
            fetch_job_polling_interval=POLLING_SECONDS,
            shutdown_graceful_timeout=self.settings.worker_stop_seconds,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )

    async def run_job(self, load_id: int) -> None:
        """Runs the load that a job names; its outcome is in the ledger, never in the queue."""
        status = await in_thread(lambda: self.run_load(load_id))
        if status:
            self.ended[status] = self.ended.get(status, 0) + 1

    def run_load(self, load_id: int) -> str | None:
        """How the load ended; it counts as running as long as its thread does."""
        self.running.add(load_id)
        try:
            return run_queued(self.loader, load_id)
        finally:
            self.running.discard(load_id)

    def keep_sweeping(self) -> None:
        """Sweeps on every notification and every half second, until the worker stops or the database is gone."""
        seen_at = time.monotonic()
        while not self.stopping.is_set():
            try:
                with listen(self.url) as connection:
                    while not self.stopping.is_set():
                        self.sweep()
                        seen_at = time.monotonic()
                        # A notification is a hint: what it is about, the sweep finds out.
                        for _ in connection.notifies(timeout=SWEEP_SECONDS, stop_after=1):
                            pass
            except (psycopg.Error, sa.exc.SQLAlchemyError) as error:
                if time.monotonic() - seen_at > OUTAGE_SECONDS:
                    log(LOGGER, "database_lost", logging.ERROR, error=type(error).__name__)
                    self.lost.set()
                    return
                self.stopping.wait(SWEEP_SECONDS)
            except Exception:
                LOGGER.exception("sweep_failed")
                self.stopping.wait(OUTAGE_SECONDS)

    def keep_watching(self) -> None:
        """Polls the watched inputs for new data, and runs housekeeping once an hour."""
        tidied_at = checked_at = time.monotonic()
        while not self.stopping.wait(self.settings.worker_poll_seconds):
            with log_failure("watch_failed"):
                if time.monotonic() - checked_at > COPIES_SECONDS:
                    checked_at = time.monotonic()
                    delete_outdated_copies(self.settings)
                if new_data := find_due_inputs(self.loader, self.settings.worker_poll_seconds):
                    self.sweep(new_data)
                if time.monotonic() - tidied_at > HOUSEKEEPING_SECONDS:
                    tidied_at = time.monotonic()
                    run_housekeeping(self.loader)

    def keep_streaming(self) -> None:
        """Asks the brokers of streams for messages that wait, and how many."""
        while not self.stopping.wait(STREAM_SECONDS):
            with log_failure("streams_not_seen"):
                if waiting := find_due_inputs(self.loader, STREAM_SECONDS, streams=True):
                    self.sweep(waiting)

    def keep_profiling(self) -> None:
        """Makes profiles of what was published, in a thread of its own: loads do not wait for them."""
        while not self.stopping.wait(PROFILE_SECONDS):
            with log_failure("profile_failed"):
                self.profile(thrifty=True)

    def profile(self, *, thrifty: bool = False) -> None:
        """Makes the profiles that are behind."""
        refresh_profiles(self.engine, self.loader.tables, self.loader.catalog.datasets(), thrifty=thrifty)

    def sweep(self, new_data: Any = ()) -> Swept:
        """One sweep; where the contracts here are not the migrated ones, they are read again."""
        number_events(self.engine)
        swept = self.dispatcher.sweep(new_data=new_data)
        for load_id in swept.lost:
            log(LOGGER, "load_given_up", logging.ERROR, load_id=load_id)
        if swept.ticks:
            log(LOGGER, "schedule_ticked", loads=swept.ticks)
        if swept.outdated and time.monotonic() - self.reloaded_at > RELOAD_SECONDS:
            self.reload_contracts(swept.outdated)
        return swept

    def reload_contracts(self, outdated: set[str]) -> None:
        """Takes up the contracts as they are now; says once what must be migrated first."""
        self.reloaded_at = time.monotonic()
        try:
            catalog = load_catalog(self.settings)
        except CatalogError as error:
            log(LOGGER, "contracts_refused", logging.ERROR, error=type(error).__name__)
            return
        shas = {key: product.sha256 for key, product in catalog.products.items()}
        if shas != {key: product.sha256 for key, product in self.dispatcher.catalog.products.items()}:
            self.loader = Loader(self.settings, catalog, build_tables(catalog.products.values()), self.engine)
            self.dispatcher.catalog = catalog
            log(LOGGER, "contracts_read_again", products=len(catalog.products))
            self.warned.clear()
            return
        for address in sorted(outdated - self.warned):
            log(LOGGER, "contract_not_migrated", logging.WARNING, dataset=address, hint="run `decant migrate`")
        self.warned |= outdated
