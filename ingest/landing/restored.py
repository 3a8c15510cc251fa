"""What a restored installation lacks: raw batches that the ledger names and the landing zone does not have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import DatasetHead, Load
from catalog.storage.object_store import LANDING
from ingest.landing.landing_zone import LandingZone
from runtime.settings.settings import Settings


@dataclass(frozen=True)
class MissingBatches:
    """The loads of a dataset whose raw batch is gone: they cannot be replayed, nor their records' raw text shown."""

    dataset: str  # its address
    loads: int
    unfinished: int  # of these, loads that had not ended: they read their input anew


def find_missing_batches(connection: sa.Connection, settings: Settings, catalog: Catalog) -> list[MissingBatches]:
    """One entry for each dataset that lacks any."""
    present = {Path(found.key).name for found in LandingZone.of(settings).store.list(LANDING)}
    found = []
    for dataset in catalog.datasets():
        rows = connection.execute(
            sa.select(Load.landed, Load.status)
            .join(DatasetHead, DatasetHead.id == Load.dataset_id)
            .where(is_head_of(dataset), Load.landed.is_not(None))
        )
        gone = [row.status for row in rows if not all(part["sha256"] in present for part in row.landed["parts"])]
        if gone:
            unfinished = sum(status in {"queued", "running"} for status in gone)
            found.append(MissingBatches(dataset.address, len(gone), unfinished))
    return found
