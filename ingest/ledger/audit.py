"""Audit entries for commands of the command line."""

from __future__ import annotations

import getpass
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.audit import BY_KEY, AuditEntry, note_audit
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import DatasetHead
from ingest.errors import IngestError


def find_dataset_id(engine: sa.Engine, dataset: Dataset) -> int:
    """The id of the dataset's head; IngestError where it has no table yet."""
    with engine.connect() as connection:
        found = connection.execute(sa.select(DatasetHead.id).where(is_head_of(dataset))).scalar_one_or_none()
    if found is None:
        raise IngestError(f"{dataset.address} has no table yet. Run `decant migrate`.")
    return int(found)


def record_audit(
    connection: sa.Connection,
    by: str,
    operation: str,
    dataset: Dataset,
    records: int | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    """Writes into the audit log who did what; never which values. `by` is as the ledger has it in `requested_by`."""
    entry = AuditEntry(
        operation,
        product=dataset.product,
        dataset=f"v{dataset.major}.{dataset.name}",
        records=records,
        facts={name: value for name, value in (facts or {}).items() if value is not None} or None,
    )
    note_audit(connection, by.removeprefix(BY_KEY), entry)


def who_runs_this() -> str:
    """Who sits at the command line, for the record."""
    try:
        return f"cli {getpass.getuser()}"
    except (OSError, KeyError):
        return "cli"
