"""Decant's own tables (schema `decant`): the ledger of datasets, loads and revisions, quarantine, and keys."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from catalog.storage.statuses import LOAD_STATUSES, REJECT_STATES
from runtime.postgres.text_types import KeptJson, KeptText, PlainJson, PlainText

SCHEMA = "decant"
QUEUE_SCHEMA = "decant_queue"  # the task queue's own tables: its jobs are hints, the ledger is the truth

LOAD_KINDS = ("ingest", "replay", "refresh", "prune", "dismiss")
IDEMPOTENCY_HOURS = 24  # how long an Idempotency-Key is remembered
TIMESTAMP = sa.TIMESTAMP(timezone=True)


def one_of(column: str, words: tuple[str, ...]) -> sa.CheckConstraint:
    """A check that a column holds one of these words."""
    return sa.CheckConstraint(sa.column(column).in_(words), name=f"ck_{column}")


class Model(DeclarativeBase):
    """What the ledger's tables have in common."""

    if TYPE_CHECKING:
        __table__: ClassVar[sa.Table]  # each is mapped to a table, to no join

    metadata = sa.MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: TIMESTAMP,
        int: sa.BigInteger,
        str: sa.Text,
        dict[str, Any]: KeptJson(),
        list[Any]: KeptJson(),
        uuid.UUID: sa.Uuid(),
    }


class DatasetHead(Model):
    """A dataset's head: which revision is current. Its row's lock is what makes publishing one at a time."""

    __tablename__ = "datasets"
    __table_args__ = (
        sa.UniqueConstraint("product", "major", "dataset"),
        sa.Index("ix_datasets_moved_by", "moved_by"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    product: Mapped[str]
    major: Mapped[int] = mapped_column(sa.Integer)
    dataset: Mapped[str]
    revision: Mapped[int] = mapped_column(server_default="0")
    oldest_revision: Mapped[int] = mapped_column(server_default="0")  # what history still reaches
    record_count: Mapped[int] = mapped_column(server_default="0")
    published_at: Mapped[datetime | None]
    newest_at: Mapped[datetime | None]  # of the property that says how fresh the dataset is
    contract_version: Mapped[str]
    contract_sha256: Mapped[str]
    fencing_token: Mapped[int] = mapped_column(server_default="0")  # the last one given to a load
    # The number of the transaction that moved the head last; a trigger writes it.
    moved_by: Mapped[int] = mapped_column(server_default=sa.text("pg_catalog.pg_current_xact_id()::text::bigint"))


class AppliedContract(Model):
    """The contract that a product was migrated to last: what the next one is compared with."""

    __tablename__ = "contracts"

    product: Mapped[str] = mapped_column(primary_key=True)
    major: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    version: Mapped[str]
    sha256: Mapped[str]
    source: Mapped[str]  # the contract's text
    applied_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class Load(Model):
    """One attempt to bring one raw batch into one dataset."""

    __tablename__ = "loads"
    __table_args__ = (
        one_of("kind", LOAD_KINDS),
        one_of("status", LOAD_STATUSES),
        sa.UniqueConstraint("dataset_id", "scheduled_at"),  # however many workers see a schedule's tick
        sa.Index("ix_loads_dataset_id_id", "dataset_id", "id"),
        sa.Index("ix_loads_dataset_id_started_at", "dataset_id", "started_at"),
        sa.Index(
            "ix_loads_ended_badly",
            "dataset_id",
            "id",
            postgresql_where=sa.text("status IN ('failed', 'withheld')"),
        ),
        sa.Index("ix_loads_unfinished", "id", postgresql_where=sa.text("status IN ('queued', 'running')")),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id))
    kind: Mapped[str]
    # The service's login may give no other: a request for a load cannot say that it was published.
    status: Mapped[str] = mapped_column(server_default=sa.text("'queued'"))
    batch_sha256: Mapped[str | None]
    cleaning_sha256: Mapped[str | None]
    source: Mapped[str | None] = mapped_column(PlainText())  # the file, address or query that the raw batch came from
    landed: Mapped[dict[str, Any] | None]  # the raw batch in the landing zone: {source, parts, position, …}
    parts: Mapped[list[Any] | None]  # of the batch as it was parsed: [{name, offset, columns, keys}]
    # What was asked for beside the input, such as a replay; the key of an erasure only until the load is over.
    request: Mapped[dict[str, Any] | None]
    requested_by: Mapped[str | None] = mapped_column(PlainText())
    scheduled_at: Mapped[datetime | None]  # the schedule's tick that made it
    cause: Mapped[dict[str, Any] | None]  # what else made it: {"revisions": …} of the datasets read, {"more": load}
    position: Mapped[dict[str, Any] | None]  # where the input stood; for a query, the revisions that it read
    revision: Mapped[int | None]  # what it published
    attempt: Mapped[int] = mapped_column(sa.Integer, server_default="1")
    retry_at: Mapped[datetime | None]  # when a load that failed in passing may be tried again
    lease_until: Mapped[datetime | None]
    fencing_token: Mapped[int | None]
    raw: Mapped[int | None]
    accepted: Mapped[int | None]
    rejected: Mapped[int | None]
    duplicates: Mapped[int | None]
    inserted: Mapped[int | None]
    updated: Mapped[int | None]
    deleted: Mapped[int | None]
    unchanged: Mapped[int | None]
    step_seconds: Mapped[dict[str, Any] | None]
    # What the owner should know, such as columns that no property reads.
    notes: Mapped[list[Any] | None] = mapped_column(PlainJson())
    error_code: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(PlainText())
    trace_id: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    finished_at: Mapped[datetime | None]


class Revision(Model):
    """One publication."""

    __tablename__ = "revisions"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    load_id: Mapped[int] = mapped_column(sa.ForeignKey(Load.id))
    record_count: Mapped[int]
    inserted: Mapped[int]
    updated: Mapped[int]
    deleted: Mapped[int]
    published_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class QualityResult(Model):
    """One rule as measured at one load."""

    __tablename__ = "quality_results"

    load_id: Mapped[int] = mapped_column(sa.ForeignKey(Load.id), primary_key=True)
    position: Mapped[int] = mapped_column(sa.Integer, primary_key=True)  # the rule's place in the contract
    rule: Mapped[str]
    dimension: Mapped[str | None]
    measured: Mapped[float | None] = mapped_column(sa.Double)
    bound: Mapped[str]  # in words, as it was compared
    passed: Mapped[bool]
    severity: Mapped[str]
    error: Mapped[str | None] = mapped_column(PlainText())
    # [[schema, dataset, property], …] that it looked at; null in what an older version measured.
    reads: Mapped[list[Any] | None]


class RejectedRecord(Model):
    """One raw record that broke the contract, with every reason."""

    __tablename__ = "rejected_records"
    __table_args__ = (
        one_of("state", REJECT_STATES),
        sa.UniqueConstraint("load_id", "file", "line"),
        sa.Index("ix_rejected_records_dataset_id_state", "dataset_id", "state", "id"),
        sa.Index(
            "ix_rejected_records_open",
            "dataset_id",
            "raw_sha256",
            postgresql_where=sa.text("state = 'open'"),
        ),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id))
    load_id: Mapped[int] = mapped_column(sa.ForeignKey(Load.id))
    file: Mapped[str] = mapped_column(KeptText())  # the part of the raw batch: a file's name, a page
    line: Mapped[int]  # within that part
    key: Mapped[str | None]
    raw: Mapped[str]
    raw_sha256: Mapped[str]
    reasons: Mapped[list[Any]]  # [{property, rule, value, message}]
    # {by, value}: what says which of two records with one key is newer; null where it is not known
    order_value: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(server_default="open")
    first_seen: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    last_seen: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]  # who dismissed it, or the load that replayed or superseded it


class InputState(Model):
    """The watermark of an incremental input; moves only inside the publishing transaction."""

    __tablename__ = "input_states"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id), primary_key=True)
    position: Mapped[dict[str, Any] | None]
    last_success: Mapped[datetime | None]


class Receipt(Model):
    """The receipt of pushed events: which records came with one request."""

    __tablename__ = "receipts"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id))
    principal: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    records: Mapped[int] = mapped_column(sa.Integer)  # new ones, and those that had come before
    repeated: Mapped[int] = mapped_column(sa.Integer, server_default="0")


class Event(Model):
    """One pushed raw record, kept before it is acknowledged; `load_id` and `line` say which load took it."""

    __tablename__ = "events"
    __table_args__ = (
        sa.UniqueConstraint("dataset_id", "source", "event_id"),
        sa.Index("ix_events_waiting", "dataset_id", "id", postgresql_where=sa.text("load_id IS NULL")),
        sa.Index("ix_events_load_id", "load_id"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id))
    source: Mapped[str]  # with `event_id`, the event's identity; made up where the sender gave none
    event_id: Mapped[str]
    payload: Mapped[str]  # the raw record as JSON, as it came
    received_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    load_id: Mapped[int | None] = mapped_column(sa.ForeignKey(Load.id))
    line: Mapped[int | None]


class ReceiptEvent(Model):
    """Which events one request brought, in its order: new ones, and those that had come before."""

    __tablename__ = "receipt_events"

    receipt_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey(Receipt.id), primary_key=True)
    position: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    event: Mapped[int] = mapped_column(sa.ForeignKey(Event.id), index=True)


class ParkedIndex(Model):
    """An index that is away while a first load runs: built at once at its end, it costs a third."""

    __tablename__ = "parked_indexes"

    table: Mapped[str] = mapped_column(primary_key=True)  # as a regclass prints it
    name: Mapped[str] = mapped_column(primary_key=True)
    definition: Mapped[str]


LEDGER_TABLES = (
    DatasetHead,
    Load,
    Revision,
    QualityResult,
    RejectedRecord,
    InputState,
    Receipt,
    Event,
    ReceiptEvent,
)
