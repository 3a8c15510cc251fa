"""Moves a stream's position by hand: the way out of a gap, and the way back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import CatalogTables
from catalog.storage.ledger_tables import InputState, Load
from ingest.errors import SourceError
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.stream.clients import borrow_client
from ingest.inputs.stream.input import resolve, source_of
from ingest.inputs.stream.position import StreamPosition
from ingest.ledger.audit import record_audit
from ingest.ledger.landed_note import Position
from ingest.ledger.lease import lock_dataset
from runtime.settings.settings import Settings

WORDS = ("earliest", "latest")


@dataclass(frozen=True)
class Sought:
    """A position that was moved."""

    dataset: str
    before: Position
    after: Position


def seek(
    settings: Settings, tables: CatalogTables, engine: sa.Engine, dataset: Dataset, where: str, by: str
) -> Sought:
    """Moves the position to the earliest or latest message, or to a moment in ISO 8601; the audit log has it.

    DatasetBusyError where a load runs, SourceError where the dataset has no stream or a load has begun to read it.
    """
    if dataset.input is None or not dataset.input.fed.streamed:
        raise SourceError(f"{dataset.address} is not fed by a stream.")
    if dataset.input.kind == "replication":
        raise SourceError(
            f"{dataset.address} follows a replication slot, which has no other place to go on from:"
            " `decant replication create` has the whole table read anew."
        )
    start = read_start(where)
    with lock_dataset(engine, dataset) as dataset_id:
        with engine.connect() as connection:
            kept = sa.select(InputState.position).where(InputState.dataset_id == dataset_id)
            before: Position = connection.execute(kept).scalar_one_or_none() or {}
            unfinished = connection.execute(
                sa.select(Load.id).where(
                    Load.dataset_id == dataset_id, Load.status.in_(("queued", "running")), Load.landed.is_not(None)
                )
            ).scalars().first()  # fmt: skip
        if unfinished is not None:
            raise SourceError(f"Load {unfinished} has read messages and is unfinished: run `decant ingest` first.")
        context = InputContext(dataset, settings, tables, engine, 0, before)
        with borrow_client(context) as (client, _):
            found = client.look()
            offsets = resolve(start, client, found)
        after = StreamPosition(source_of(context.source).topic, found.id, offsets).note()
        with engine.begin() as connection:
            statement = insert(InputState).values(dataset_id=dataset_id, position=after)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["dataset_id"], set_={"position": after})
            )
            record_audit(connection, by, "seek", dataset, facts={"to": where, "next": after["next"]})
    return Sought(dataset.address, before, after)


def read_start(where: str) -> str:
    """earliest, latest or a moment with its offset from UTC; SourceError where it is none of these."""
    if where in WORDS:
        return where
    moment: datetime | None = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(where)
    if moment is None or moment.tzinfo is None:
        raise SourceError(f"{where!r} is not earliest, latest or a moment such as 2026-01-31T00:00:00Z.")
    return moment.astimezone(UTC).isoformat()
