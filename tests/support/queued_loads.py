"""Loads that wait in the ledger, as somebody's request leaves them there."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import DatasetHead
from ingest.ledger.queue import insert_load, wake_workers
from tests.support.command_line import run_process
from tests.support.lab import Lab


def queue_load(engine: sa.Engine, dataset: Dataset, kind: str, requested_by: str | None = None) -> int:
    """The id of a new load that some worker will run."""
    with engine.begin() as connection:
        dataset_id = connection.execute(sa.select(DatasetHead.id).where(is_head_of(dataset))).scalar_one()
        load_id = insert_load(connection, dataset_id, kind, requested_by=requested_by)
        wake_workers(connection)
    return load_id


def run_worker(lab: Lab) -> str:
    """The log of a worker, a process of its own on the login of ingestion, that ran what was due."""
    ended = run_process(lab, "worker", "--once", DECANT_INGEST_DATABASE_URL=lab.urls.ingest)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr
