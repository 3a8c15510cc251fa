"""The steps of a load: each timed and traced, and what may fail behind the publication."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ingest.ledger.failures import explain_failure, is_outage
from ingest.ledger.loads import Ticket, renew_lease
from ingest.loading.load_report import LOGGER
from ingest.loading.progress import Progress
from runtime.logs import log
from runtime.telemetry import TRACER


@contextmanager
def step(engine: sa.Engine, ticket: Ticket, name: str, total: int | None, progress: Progress) -> Iterator[None]:
    """Times and traces one step, and renews the lease before it."""
    renew_lease(engine, ticket)
    progress.start(name, total)
    started = time.perf_counter()
    try:
        with TRACER.start_as_current_span(f"load {name}", attributes={"decant.load_id": ticket.load_id}):
            yield
    finally:
        ticket.step_seconds[name] = round(time.perf_counter() - started, 4)
        progress.done()


@contextmanager
def chore(ticket: Ticket, name: str) -> Iterator[None]:
    """Something done after the publication: it fails by itself, and the load stays published."""
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise
        ticket.notes.append(f"{name} failed after the publication: {explain_failure(error)}")
        log(
            LOGGER,
            "chore_failed",
            logging.WARNING,
            load_id=ticket.load_id,
            chore=name,
            error=type(error).__name__,
        )
