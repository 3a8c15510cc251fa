"""How far the loads of an input have come, and what held them up."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import DatasetHead, InputState, Load
from ingest.errors import (
    DatabaseBusyError,
    DiskFullError,
    InterruptedLoadError,
    OutOfMemoryError,
    SourceUnavailableError,
)
from ingest.ledger.landed_note import Position

NOT_PUBLISHED = ("withheld", "failed")
TRANSIENT_CODES = {
    error.code
    for error in (
        DatabaseBusyError,
        DiskFullError,
        InterruptedLoadError,
        OutOfMemoryError,
        SourceUnavailableError,
    )
}


@dataclass(frozen=True)
class InputProgress:
    """What the ledger knows of an input."""

    dataset_id: int | None  # None where the dataset is not migrated
    state: Position = field(default_factory=dict)  # where it stood when a load last ended well
    tried: tuple[object, ...] = ()  # the positions that the latest load did not get past
    withheld_rules: str | None = None  # the digest of the cleaning by which the latest load was withheld


def read_progress(engine: sa.Engine, dataset: Dataset) -> InputProgress:
    """How far the loads of the dataset's input have come."""
    heads = sa.select(DatasetHead.id).where(is_head_of(dataset))
    with engine.connect() as connection:
        dataset_id = connection.execute(heads).scalar_one_or_none()
        stands = sa.select(InputState.position).where(InputState.dataset_id == dataset_id)
        state = connection.execute(stands).scalar_one_or_none() or {}
        latest = connection.execute(
            sa.select(Load.status, Load.error_code, Load.position, Load.landed, Load.cleaning_sha256)
            .where(Load.dataset_id == dataset_id, Load.kind == "ingest")
            .order_by(Load.id.desc())
            .limit(1)
        ).one_or_none()
    # What was in the way may be gone: a full disk, an interruption. That is no judgement on the input.
    transient = latest is not None and latest.status == "failed" and latest.error_code in TRANSIENT_CODES
    if latest is None or latest.status not in NOT_PUBLISHED or transient:
        return InputProgress(dataset_id, state)
    tried = (latest.position, (latest.landed or {}).get("position"))
    return InputProgress(dataset_id, state, tried, latest.cleaning_sha256 if latest.status == "withheld" else None)
