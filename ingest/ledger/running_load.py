"""A load while it runs: what its steps need, each step timed and traced, and what may fail after publishing."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import CatalogTables, DatasetTables
from ingest.ledger.failures import explain_failure, is_outage
from ingest.ledger.loads import Ticket
from ingest.ledger.progress import Progress
from runtime.logs import log
from runtime.settings.settings import Settings
from runtime.telemetry import TRACER

LOGGER = logging.getLogger("decant.load")


@dataclass(frozen=True)
class RunningLoad:
    """One attempt at a load."""

    settings: Settings
    engine: sa.Engine
    catalog: CatalogTables
    dataset: Dataset
    ticket: Ticket
    folder: Path  # this attempt's own; it goes when the attempt ends
    progress: Progress

    @property
    def tables(self) -> DatasetTables:
        """The dataset's tables."""
        return self.catalog.of(self.dataset)

    @property
    def staging(self) -> sa.Table:
        """The staging table of this attempt."""
        return self.tables.staging(self.ticket.load_id, self.ticket.fencing_token)

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[None]:
        """Times and traces one step; `total` is what its progress adds up to."""
        self.progress.start(name, total)
        started = time.perf_counter()
        try:
            with TRACER.start_as_current_span(f"load {name}", attributes={"decant.load_id": self.ticket.load_id}):
                yield
        finally:
            self.ticket.step_seconds[name] = round(time.perf_counter() - started, 4)
            self.progress.done()

    @contextmanager
    def chore(self, name: str) -> Iterator[None]:
        """Something done after the publication: it fails by itself, and the load stays published."""
        try:
            yield
        except Exception as error:
            if is_outage(error):
                raise
            self.ticket.notes.append(f"{name} failed after the publication: {explain_failure(error)}")
            facts = {"load_id": self.ticket.load_id, "chore": name, "error": type(error).__name__}
            log(LOGGER, "chore_failed", logging.WARNING, **facts)
