"""Decant's own tables (schema `decant`): the ledger of datasets, loads and revisions, quarantine, and keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "decant"

LOAD_KINDS = ("ingest", "replay", "refresh", "prune")
LOAD_STATUSES = ("queued", "running", "published", "unchanged", "withheld", "failed")
REJECT_STATES = ("open", "replayed", "superseded", "dismissed")
TIMESTAMP = sa.TIMESTAMP(timezone=True)


def one_of(column: str, words: tuple[str, ...]) -> sa.CheckConstraint:
    """A check that a column holds one of these words."""
    return sa.CheckConstraint(sa.column(column).in_(words), name=f"ck_{column}")


class Model(DeclarativeBase):
    """What the ledger's tables have in common."""

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
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class DatasetHead(Model):
    """A dataset's head: which revision is current. Its row's lock is what makes publishing one at a time."""

    __tablename__ = "datasets"
    __table_args__ = (sa.UniqueConstraint("product", "major", "dataset"),)

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    product: Mapped[str]
    major: Mapped[int] = mapped_column(sa.Integer)
    dataset: Mapped[str]
    revision: Mapped[int] = mapped_column(server_default="0")
    oldest_revision: Mapped[int] = mapped_column(server_default="0")  # what history still reaches
    record_count: Mapped[int] = mapped_column(server_default="0")
    published_at: Mapped[datetime | None]
    contract_version: Mapped[str]
    contract_sha256: Mapped[str]
    fencing_token: Mapped[int] = mapped_column(server_default="0")  # the last one given to a load


class Load(Model):
    """One attempt to bring one raw batch into one dataset."""

    __tablename__ = "loads"
    __table_args__ = (
        one_of("kind", LOAD_KINDS),
        one_of("status", LOAD_STATUSES),
        sa.Index("ix_loads_dataset_id_id", "dataset_id", "id"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id))
    kind: Mapped[str]
    status: Mapped[str]
    batch_sha256: Mapped[str | None]
    cleaning_sha256: Mapped[str | None]
    source: Mapped[str | None]  # the file or query that the raw batch came from
    position: Mapped[dict[str, Any] | None]  # where the input stood; for a query, the revisions that it read
    revision: Mapped[int | None]  # what it published
    attempt: Mapped[int] = mapped_column(sa.Integer, server_default="1")
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
    notes: Mapped[list[Any] | None]  # what the owner should know, such as columns that no property reads
    error_code: Mapped[str | None]
    error: Mapped[str | None]
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
    error: Mapped[str | None]


class RejectedRecord(Model):
    """One raw record that broke the contract, with every reason."""

    __tablename__ = "rejected_records"
    __table_args__ = (
        one_of("state", REJECT_STATES),
        sa.UniqueConstraint("load_id", "line"),
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
    file: Mapped[str | None]
    line: Mapped[int]
    key: Mapped[str | None]
    raw: Mapped[str]
    raw_sha256: Mapped[str]
    reasons: Mapped[list[Any]]  # [{property, rule, value, message}]
    state: Mapped[str] = mapped_column(server_default="open")
    first_seen: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    last_seen: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class InputState(Model):
    """Where an incremental input stands; moves only inside the publishing transaction."""

    __tablename__ = "input_states"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id), primary_key=True)
    position: Mapped[dict[str, Any] | None]
    last_success: Mapped[datetime | None]


class ParkedIndex(Model):
    """An index that is away while a first load runs: built at once at its end, it costs a third."""

    __tablename__ = "parked_indexes"

    table: Mapped[str] = mapped_column(primary_key=True)  # as a regclass prints it
    name: Mapped[str] = mapped_column(primary_key=True)
    definition: Mapped[str]


class ApiKey(Model):
    """One API key: only a keyed hash of its secret is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_hash: Mapped[bytes]
    pepper_version: Mapped[int] = mapped_column(sa.Integer, server_default="1")
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


INGEST_TABLES = (DatasetHead, Load, Revision, QualityResult, RejectedRecord, InputState)
