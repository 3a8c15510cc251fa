"""The ledger's rows of a running load: who may load a dataset now, what is left of loads that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from catalog.dataset import Dataset
from catalog.models import DatasetHead, Load
from catalog.tables import STAGING_SCHEMA
from catalog.telemetry import current_trace_id
from ingest.errors import DatasetBusyError, IngestError

LEASE_SECONDS = 600
LOCK_CLASS = 0x6465_6361  # the first half of the advisory locks that loads hold


@dataclass
class Ticket:
    """A load that is running: its row in the ledger, and what has been noted of it so far."""

    load_id: int
    dataset_id: int
    fencing_token: int
    head_revision: int
    head_records: int
    latest: tuple[str | None, str | None]  # batch and cleaning digests of the latest published batch
    step_seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@contextmanager
def hold_dataset(engine: sa.Engine, dataset: Dataset) -> Iterator[int]:
    """The id of the dataset's head, held against other loads as long as this process lives.

    The lock goes with its connection: a worker that was killed holds up nobody. One that only sleeps is overtaken
    when its lease has run out, and its fencing token keeps it from publishing.
    """
    with engine.connect() as connection:
        row = connection.execute(
            sa.select(DatasetHead.id).where(
                DatasetHead.product == dataset.product,
                DatasetHead.major == dataset.major,
                DatasetHead.dataset == dataset.name,
            )
        ).one_or_none()
        if row is None:
            raise IngestError(f"{dataset.address} has no table yet. Run `decant migrate`.")
        lock = sa.func.pg_try_advisory_lock(LOCK_CLASS, sa.cast(row.id, sa.Integer))
        alone = connection.execute(sa.select(lock)).scalar_one()
        lease = sa.select(sa.func.max(Load.lease_until) > sa.func.now()).where(
            Load.dataset_id == row.id, Load.status == "running"
        )
        if not alone and connection.execute(lease).scalar_one():
            raise DatasetBusyError(f"Another worker is loading {dataset.address}. Try again when it is done.")
        connection.commit()
        yield row.id


def open_load(engine: sa.Engine, dataset_id: int, kind: str) -> Ticket:
    """A ticket with a new fencing token, for a new load or for one that was left unfinished."""
    with engine.begin() as connection:
        head = connection.execute(
            sa.select(DatasetHead.__table__).where(DatasetHead.id == dataset_id).with_for_update()
        ).one()
        token = head.fencing_token + 1
        connection.execute(sa.update(DatasetHead).where(DatasetHead.id == dataset_id).values(fencing_token=token))
        facts = {
            "status": "running",
            "lease_until": sa.func.now() + sa.cast(f"{LEASE_SECONDS} seconds", sa.Interval),
            "fencing_token": token,
            "trace_id": current_trace_id(),
        }
        left = connection.execute(
            sa.select(Load.id)
            .where(Load.dataset_id == dataset_id, Load.kind == kind, Load.status == "running")
            .order_by(Load.id)
            .limit(1)
        ).scalar_one_or_none()
        if left is None:
            load_id = connection.execute(
                sa.insert(Load).values(dataset_id=dataset_id, kind=kind, **facts).returning(Load.id)
            ).scalar_one()
        else:
            load_id = left
            connection.execute(sa.update(Load).where(Load.id == left).values(attempt=Load.attempt + 1, **facts))
        latest = connection.execute(
            sa.select(Load.batch_sha256, Load.cleaning_sha256)
            .where(Load.dataset_id == dataset_id, Load.status == "published", Load.kind == kind)
            .order_by(Load.revision.desc())
            .limit(1)
        ).one_or_none()
    return Ticket(
        load_id=load_id,
        dataset_id=dataset_id,
        fencing_token=token,
        head_revision=head.revision,
        head_records=head.record_count,
        latest=(latest.batch_sha256, latest.cleaning_sha256) if latest else (None, None),
    )


def renew_lease(engine: sa.Engine, ticket: Ticket) -> None:
    """Keeps the load its own for another while."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(Load)
            .where(Load.id == ticket.load_id, Load.fencing_token == ticket.fencing_token)
            .values(lease_until=sa.func.now() + sa.cast(f"{LEASE_SECONDS} seconds", sa.Interval))
        )


def close_load(engine: sa.Engine, ticket: Ticket, failure: IngestError | None) -> None:
    """Writes the last facts of a load: how long each step took, what went wrong."""
    values: dict[str, Any] = {"step_seconds": ticket.step_seconds, "notes": ticket.notes or None}
    if failure is not None:
        values |= {
            "status": "failed",
            "error_code": failure.code,
            "error": str(failure),
            "lease_until": None,
            "finished_at": sa.func.clock_timestamp(),
        }
    with engine.begin() as connection:
        connection.execute(
            sa.update(Load)
            .where(Load.id == ticket.load_id, Load.fencing_token == ticket.fencing_token)
            .values(values)
        )


def end_unchanged(engine: sa.Engine, ticket: Ticket, batch_sha256: str, cleaning_sha256: str) -> None:
    """Ends a load whose batch and cleaning are those of the latest publication."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(Load)
            .where(Load.id == ticket.load_id)
            .values(
                status="unchanged",
                batch_sha256=batch_sha256,
                cleaning_sha256=cleaning_sha256,
                lease_until=None,
                finished_at=sa.func.clock_timestamp(),
            )
        )


def find_leftovers(engine: sa.Engine, dataset_id: int) -> tuple[list[int], list[int]]:
    """What killed loads of a dataset may have left: those with a staging table, and all that may have files."""
    staged = sa.table("pg_tables", sa.column("tablename"), sa.column("schemaname"))
    name = sa.func.concat("load_", sa.cast(Load.id, sa.Text))
    with_table = (
        sa.select(Load.id)
        .join(staged, staged.c.tablename == name)
        .where(Load.dataset_id == dataset_id, staged.c.schemaname == STAGING_SCHEMA)
    )
    # A load was killed while it ran, or after its last transaction: then no other has followed it yet.
    latest = sa.select(sa.func.max(Load.id)).where(Load.dataset_id == dataset_id)
    unfinished = sa.select(Load.id).where(
        Load.dataset_id == dataset_id, sa.or_(Load.status == "running", Load.id.in_(latest))
    )
    with engine.connect() as connection:
        tables = list(connection.scalars(with_table))
        return tables, [*tables, *connection.scalars(unfinished)]
