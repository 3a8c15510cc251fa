"""Incidents that people are told of, and what was sent of each to every channel."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from catalog.storage.ledger_tables import Model
from runtime.postgres.text_types import PlainText

INCIDENTS_LOCK = "incidents"  # one process at a time looks for them


class OpenIncident(Model):
    """One incident, from when it was first found until it no longer was."""

    __tablename__ = "incidents"
    __table_args__ = (
        sa.Index(
            "ix_incidents_open",
            "kind",
            "product",
            "major",
            "dataset",
            "subject",
            unique=True,
            postgresql_where=sa.text("ended_at IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    kind: Mapped[str]  # of catalog.model.notifications.EVENTS
    product: Mapped[str | None]  # null where it is about all of them
    major: Mapped[int | None] = mapped_column(sa.Integer)
    dataset: Mapped[str | None]
    subject: Mapped[str] = mapped_column(server_default="")  # what else there can be several of: a key's id
    since: Mapped[datetime]
    found_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    load_id: Mapped[int | None]
    message: Mapped[str] = mapped_column(PlainText())  # as it stood when it was last seen
    next: Mapped[str] = mapped_column(PlainText())  # what to run
    path: Mapped[str] = mapped_column(PlainText())  # of the console's page


class IncidentMessage(Model):
    """How far one channel is told of one incident."""

    __tablename__ = "incident_messages"
    __table_args__ = (
        sa.UniqueConstraint("incident_id", "channel"),
        sa.Index("ix_incident_messages_open", "channel", postgresql_where=sa.text("closed_at IS NULL")),
        sa.Index("ix_incident_messages_tried", "channel", "tried_at"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    incident_id: Mapped[int] = mapped_column(sa.ForeignKey(OpenIncident.id, ondelete="CASCADE"))
    channel: Mapped[str]  # Channel.key
    sent: Mapped[int] = mapped_column(sa.Integer, server_default="0")  # messages that were taken
    noted_at: Mapped[datetime | None]  # when the last one was sent, or given up
    tried_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(sa.Integer, server_default="0")  # in a row, of the message that is due
    failing_since: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(PlainText())  # of the last attempt, in words
    lease: Mapped[uuid.UUID | None]  # of the process that is sending; it stays where that was killed
    lease_until: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]  # nothing more is sent
