"""What a load is asked for beside its input, and what the ledger therefore calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from ingest.cleaning.engine import CleanBatch
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.ledger.loads import Ticket
from ingest.quarantine.replay_merge import Pouring, list_open_keys, write_origins
from ingest.retention.withdraw_load import withdraws


def poured_load(ticket: Ticket) -> int | None:
    """The load whose whole batch is poured again."""
    load_id: int | None = ticket.request.get("replay", {}).get("load")
    return load_id


def reads_query(dataset: Dataset) -> bool:
    """Whether the dataset is derived from others."""
    return dataset.input is not None and dataset.input.kind == "query"


def choose_kind(dataset: Dataset, request: dict[str, Any] | None) -> str:
    """What the ledger calls a load: `replay` where one was asked for, else by the input."""
    if request and "replay" in request:
        return "replay"
    if request and withdraws(request):
        return "prune"
    return "refresh" if reads_query(dataset) else "ingest"


def prepare_pouring(ticket: Ticket, landed: LandedBatch, folder: Path, limit: UnpackLimit) -> Pouring | None:
    """What is poured again, where the load is a replay."""
    if "replay" not in ticket.request:
        return None
    if (load_id := poured_load(ticket)) is not None:
        return Pouring(load_id, None)
    write_origins(landed, folder / "origins.csv", limit)
    return Pouring(None, folder / "origins.csv")


def write_confirmed(engine: sa.Engine, ticket: Ticket, clean: CleanBatch, folder: Path) -> Path | None:
    """The file of the good records whose keys lie in quarantine; None where none do."""
    if "replay" in ticket.request:
        return None
    with engine.connect() as connection:
        if not list_open_keys(connection, ticket.dataset_id, ticket.load_id, folder / "open.csv"):
            return None
    clean.tables.write_confirmed(folder / "confirmed.csv", folder / "open.csv")
    return folder / "confirmed.csv"
