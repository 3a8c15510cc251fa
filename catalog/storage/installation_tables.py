"""Tables about the installation itself: epochs of its database, migration scripts applied to it, its workers."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from catalog.storage.ledger_tables import DatasetHead, Model

STALLED_SECONDS = 10.0  # without a heartbeat: then a worker is taken for gone, and its jobs are given to others
SWEEP_LOCK = "sweep"  # one sweep at a time; the others leave it to that one


class Epoch(Model):
    """One epoch of the database: within it, a revision number always means the same records."""

    __tablename__ = "epochs"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    epoch: Mapped[str] = mapped_column(unique=True)  # eight hexadecimal digits, random
    reason: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class NamedLock(Model):
    """A row whose lock one process at a time holds: an advisory lock could be anybody's who knows its number."""

    __tablename__ = "locks"

    name: Mapped[str] = mapped_column(primary_key=True)


class AppliedScript(Model):
    """One migration script of a user's contract, kept so that a lost folder of scripts can be written again."""

    __tablename__ = "scripts"

    name: Mapped[str] = mapped_column(primary_key=True)  # of its file
    branch: Mapped[str]  # the product's schema
    source: Mapped[str]
    applied_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class WatchedInput(Model):
    """When a watched input is to be looked at again: whichever worker comes first does it, for all of them."""

    __tablename__ = "watched_inputs"

    dataset_id: Mapped[int] = mapped_column(sa.ForeignKey(DatasetHead.id), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class WorkerPresence(Model):
    """One process that runs loads: alive while it is seen again and again; kept for a while after its end."""

    __tablename__ = "workers"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    host: Mapped[str]
    concurrency: Mapped[int] = mapped_column(sa.Integer)  # loads at once
    started_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    ended_at: Mapped[datetime | None]  # null where it was killed, too
