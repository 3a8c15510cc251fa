"""The outbox: what happened and others should know, written in the transaction that made it happen.

Those who tell others (webhooks, messages to people) each keep a cursor, and read by `sequence`. The sequence is given
after the commit, by one process at a time: whoever reads behind a cursor never passes over an event whose transaction
was slow. Events of one dataset are written under the lock of its head, and so stand in the order of what they tell.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from catalog.storage.ledger_tables import SCHEMA, DatasetHead, Model
from runtime.postgres.sql_types import SqlRow
from runtime.telemetry import current_trace_id

OUTBOX_LOCK = "outbox"  # one process at a time gives sequence numbers
SEQUENCE = f"{SCHEMA}.outbox_sequence"


@dataclass(frozen=True)
class EventKind:
    """One kind of event, and who may know of it."""

    name: str
    audience: Literal["readers", "operators"]  # who may read the dataset; who holds ops:read
    meaning: str
    of_dataset: bool = True  # whether it is about one


KINDS = {
    kind.name: kind
    for kind in (
        EventKind("revision.published", "readers", "a dataset has a new revision"),
        EventKind("load.withheld", "operators", "a failed check keeps a batch from publication"),
        EventKind("load.failed", "operators", "a load has failed, and is not tried again"),
        EventKind("subscription.disabled", "operators", "a webhook gets no more events", of_dataset=False),
    )
}


class OutboxEvent(Model):
    """One event to tell others of."""

    __tablename__ = "outbox"
    __table_args__ = (
        sa.Index("ix_outbox_waiting", "id", postgresql_where=sa.text("sequence IS NULL")),
        sa.Index("ix_outbox_created_at", "created_at"),
        sa.Index("ix_outbox_product_sequence", "product", "major", "sequence"),
        sa.Index("ix_outbox_event_id", "event_id", unique=True),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    sequence: Mapped[int | None] = mapped_column(unique=True)  # null until the sequencer has seen it
    # A restored database gives `id` and `sequence` a second time, to other events; never this.
    event_id: Mapped[uuid.UUID] = mapped_column(server_default=sa.func.gen_random_uuid())
    kind: Mapped[str]  # of KINDS
    product: Mapped[str | None]  # null where the event is about no dataset
    major: Mapped[int | None] = mapped_column(sa.Integer)
    dataset: Mapped[str | None]
    facts: Mapped[dict[str, Any]]  # never values of records
    trace_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class OutboxCursor(Model):
    """How far one reader of the outbox has come."""

    __tablename__ = "outbox_cursors"

    reader: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int]  # of the last event that it is done with
    moved_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


def tell(connection: sa.Connection, kind: str, dataset_id: int | None, facts: dict[str, Any]) -> None:
    """Writes an event in the connection's transaction, which holds the lock of the dataset's head.

    `facts` hold numbers and names of the ledger and of the contract, never values of records.
    """
    values = {
        "kind": sa.literal(KINDS[kind].name, sa.Text),
        "facts": sa.literal(facts, OutboxEvent.facts.type),
        "trace_id": sa.literal(current_trace_id(), sa.Text),
    }
    if dataset_id is None:
        connection.execute(sa.insert(OutboxEvent).values(values))
        return
    head = (DatasetHead.product, DatasetHead.major, DatasetHead.dataset)
    event = sa.select(*values.values(), *head).where(DatasetHead.id == dataset_id)
    connection.execute(sa.insert(OutboxEvent).from_select([*values, "product", "major", "dataset"], event))


def last_sequence(connection: sa.Connection) -> int:
    """The sequence of the newest event: where a reader begins that asks for what comes from now on."""
    newest = connection.execute(sa.select(sa.func.max(OutboxEvent.sequence))).scalar_one()
    return int(newest or 0)


def read_events(
    connection: sa.Connection, after: int, limit: int, kinds: Collection[str] = tuple(KINDS)
) -> list[SqlRow]:
    """The events of these kinds behind a cursor, in their order."""
    statement = (
        sa.select(OutboxEvent.__table__)
        .where(OutboxEvent.sequence > after, OutboxEvent.kind.in_(kinds))
        .order_by(OutboxEvent.sequence)
        .limit(limit)
    )
    return list(connection.execute(statement))
