"""Loads that wait in the ledger, as somebody's request leaves them there."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import DatasetHead
from ingest.ledger.queue import insert_load, wake_workers


def queue_load(engine: sa.Engine, dataset: Dataset, kind: str, requested_by: str | None = None) -> int:
    """The id of a new load that some worker will run."""
    with engine.begin() as connection:
        dataset_id = connection.execute(sa.select(DatasetHead.id).where(is_head_of(dataset))).scalar_one()
        load_id = insert_load(connection, dataset_id, kind, requested_by=requested_by)
        wake_workers(connection)
    return load_id
