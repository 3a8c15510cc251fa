"""Runs a load that the ledger has queued. Its outcome is in the ledger afterwards, and in the log."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.model.load_request import read_request
from catalog.storage.ledger_tables import DatasetHead, Load
from ingest.errors import DatasetBusyError, LoadOverError
from ingest.ledger.events import release_events
from ingest.ledger.failed_loads import OPEN, write_failure
from ingest.ledger.failures import explain_failure
from ingest.ledger.queue import insert_load, wake_workers
from ingest.ledger.retry_policy import end_attempt
from ingest.loading.load_report import LoadReport, log_crash
from ingest.loading.loader import Loader
from runtime.errors import DatabaseError, DatabaseUnavailableError
from runtime.logs import log
from runtime.postgres.database import translate_errors

LOGGER = logging.getLogger("decant.worker")


def run_queued(loader: Loader, load_id: int) -> str | None:
    """How the load ended: published, unchanged, withheld, failed, or queued again.

    None where it was not run: it is over, somebody else is at it, its contract is not here, or the database is gone.
    """
    try:
        with translate_errors():
            row = find_load(loader.engine, load_id)
    except DatabaseUnavailableError:
        return None
    product = loader.catalog.products.get((row.product, row.major)) if row else None
    dataset = product.datasets.get(row.dataset) if product and row else None
    if row is None or dataset is None or row.status not in OPEN:
        return None
    facts = {"load_id": load_id, "dataset": dataset.address}
    attempt = row.attempt + 1 if row.status == "running" or row.retry_at else None
    log(LOGGER, "load_started", **facts, kind=row.kind, attempt=attempt)
    try:
        report = loader.run(dataset, load_id=load_id, request=read_request(row.request))
        with translate_errors():
            return conclude(loader.engine, dataset, report)
    except (DatasetBusyError, LoadOverError) as error:
        log(LOGGER, "load_left", **facts, reason=error.code)
    except DatabaseUnavailableError:
        log(LOGGER, "load_interrupted", logging.WARNING, **facts, reason="database_unavailable")
    except Exception as error:
        return note_crash(loader.engine, load_id, dataset, error)
    return None


def find_load(engine: sa.Engine, load_id: int) -> Any:
    """The load's row of the ledger with the dataset that it is for; None where there is none."""
    columns = (Load.status, Load.kind, Load.request, Load.attempt, Load.retry_at)
    with engine.connect() as connection:
        return connection.execute(
            sa.select(*columns, DatasetHead.product, DatasetHead.major, DatasetHead.dataset)
            .join(DatasetHead, DatasetHead.id == Load.dataset_id)
            .where(Load.id == load_id)
        ).one_or_none()


def conclude(engine: sa.Engine, dataset: Dataset, report: LoadReport) -> str:
    """How the load ended, after the log has it, and the next one is queued where its input holds more."""
    with engine.begin() as connection:
        row = connection.execute(
            sa.select(Load.dataset_id, Load.status, Load.attempt, Load.retry_at).where(Load.id == report.load_id)
        ).one()
        if report.more:
            insert_load(connection, row.dataset_id, "ingest", cause={"more": report.load_id})
        wake_workers(connection)
    facts: dict[str, object] = {"load_id": report.load_id, "dataset": dataset.address}
    if report.outcome is not None:
        names = ("raw", "accepted", "rejected", "duplicates", "inserted", "updated", "deleted")
        counts = {name: getattr(report.outcome, name) for name in names} if report.outcome.raw else {}
        failed = ",".join(m.rule for m in report.outcome.measurements if m.withholds) or None
        word = "withheld_by" if report.status == "withheld" else "passed_over"
        facts |= {"revision": report.outcome.revision, **counts, word: failed}
    elif row.status == "queued":
        facts |= {"error_code": report.error_code, "error": report.error, "again_at": row.retry_at}
    else:
        facts |= {"error_code": report.error_code, "error": report.error, "attempt": row.attempt}
    status = "retry" if row.status == "queued" else report.status
    level = logging.WARNING if status in {"withheld", "failed", "retry"} else logging.INFO
    word = {"retry": "load_failed_in_passing"}.get(status, f"load_{status}")
    log(LOGGER, word, level, **facts, seconds=report.seconds)
    return status


def note_crash(engine: sa.Engine, load_id: int, dataset: Dataset, error: Exception) -> str | None:
    """The state of a load that could not be opened."""
    log_crash(dataset, load_id, error)
    failure = explain_failure(error)
    try:
        with translate_errors(), engine.begin() as connection:
            mine = (Load.id == load_id, Load.status.in_(OPEN))
            attempt = connection.execute(sa.select(Load.attempt).where(*mine)).scalar_one_or_none()
            if attempt is None:
                return None
            values = end_attempt(
                failure.code, str(failure), attempt, transient=failure.transient, after=failure.after
            )
            write_failure(connection, load_id, values)
            release_events(connection, load_id)
            wake_workers(connection)
    except DatabaseError:
        return None  # the sweep finds it running with nobody at it
    return "retry" if values["status"] == "queued" else "failed"
