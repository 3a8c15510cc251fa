"""The loads of the ledger, as a person or a script asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.model.load_request import show_request
from catalog.storage.ledger_tables import DatasetHead, Load, QualityResult, RejectedRecord
from ingest.errors import IngestError
from runtime.postgres.sql_types import SqlQuery, SqlRow

COUNTS = ("raw", "accepted", "rejected", "duplicates", "inserted", "updated", "deleted", "unchanged")
SAMPLED_REJECTS = 10_000  # of one load, to count its reasons


def list_loads(
    engine: sa.Engine, datasets: Iterable[Dataset], status: str | None = None, limit: int = 20
) -> list[dict[str, object]]:
    """The latest loads of these datasets, newest first."""
    addresses = [(dataset.product, dataset.major, dataset.name) for dataset in datasets]
    where = sa.tuple_(DatasetHead.product, DatasetHead.major, DatasetHead.dataset).in_(addresses)
    statement = select_loads().where(where).order_by(Load.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(Load.status == status)
    with engine.connect() as connection:
        return [describe(row) for row in connection.execute(statement)]


def read_load(engine: sa.Engine, load_id: int) -> dict[str, object]:
    """Everything that the ledger knows of one load; IngestError where there is none."""
    with engine.connect() as connection:
        row = connection.execute(select_loads().where(Load.id == load_id)).one_or_none()
        if row is None:
            raise IngestError(f"Load {load_id} does not exist. `decant loads` lists the loads.")
        gates = connection.execute(
            sa.select(QualityResult.__table__)
            .where(QualityResult.load_id == load_id)
            .order_by(QualityResult.position)
        )
        return describe(row) | {
            "attempt": row.attempt,
            "requested_by": row.requested_by,
            "request": show_request(row.request),
            "scheduled_at": row.scheduled_at,
            "cause": row.cause,
            "retry_at": row.retry_at,
            "source": row.source,
            "batch_sha256": row.batch_sha256,
            "cleaning_sha256": row.cleaning_sha256,
            "parts": [part.get("name") for part in row.parts or (row.landed or {}).get("parts") or []],
            "position": row.position,
            "step_seconds": row.step_seconds,
            "notes": row.notes or [],
            "trace_id": row.trace_id,
            "gates": [
                {name: gate[name] for name in ("rule", "measured", "bound", "passed", "severity", "error")}
                for gate in gates.mappings()
            ],
            "reasons": count_reasons(connection, load_id),
        }


def select_loads() -> SqlQuery:
    """Loads with the address of their dataset."""
    return sa.select(
        Load.__table__, DatasetHead.product, DatasetHead.major, DatasetHead.dataset.label("dataset_name")
    ).join(DatasetHead, DatasetHead.id == Load.dataset_id)


def describe(row: SqlRow) -> dict[str, object]:
    """One load in a list."""
    seconds = (row.finished_at - row.started_at).total_seconds() if row.finished_at else None
    return {
        "id": row.id,
        "dataset": f"{row.product}@{row.major}.{row.dataset_name}",
        "kind": row.kind,
        "status": row.status,
        "revision": row.revision,
        **{name: getattr(row, name) for name in COUNTS},
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "seconds": seconds,
        "error_code": row.error_code,
        "error": row.error,
    }


def count_reasons(connection: sa.Connection, load_id: int) -> list[dict[str, object]]:
    """The reasons for rejection of a load's records that still lie in quarantine, most frequent first."""
    newest = (
        sa.select(RejectedRecord.file, RejectedRecord.line, RejectedRecord.reasons)
        .where(RejectedRecord.load_id == load_id)
        .order_by(RejectedRecord.id)
        .limit(SAMPLED_REJECTS)
    )
    found: dict[tuple[str | None, str], dict[str, Any]] = {}
    for file, line, reasons in connection.execute(newest):
        for reason in reasons:
            index = (reason.get("property"), str(reason.get("rule")))
            sample = {"file": file, "line": line, "value": reason.get("value"), "message": reason.get("message")}
            entry = found.setdefault(index, {"property": index[0], "rule": index[1], "records": 0, "sample": sample})
            entry["records"] += 1
    return sorted(found.values(), key=lambda entry: -entry["records"])
