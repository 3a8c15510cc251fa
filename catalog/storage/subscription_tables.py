"""Subscriptions of consumers to events, as webhooks, and the log of what was sent to them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from catalog.storage.ledger_tables import Model
from runtime.postgres.text_types import PlainText


class Subscription(Model):
    """One webhook: who owns it, what it is told of, where, and how far it has come."""

    __tablename__ = "subscriptions"
    __table_args__ = (sa.Index("ix_subscriptions_owner", "owner", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]  # the first key of the line that owns it: whatever key they have by now
    product: Mapped[str]
    major: Mapped[int] = mapped_column(sa.Integer)
    datasets: Mapped[list[Any] | None]  # their names; null for all of the product
    kinds: Mapped[list[Any]]  # of events
    address: Mapped[str]
    secrets: Mapped[list[Any]]  # what they are derived from, the current one first: catalog.storage.webhook_secrets
    active: Mapped[bool] = mapped_column(server_default=sa.true())
    reason: Mapped[str | None] = mapped_column(PlainText())  # why it is disabled, or nothing can be sent just now
    disabled_at: Mapped[datetime | None]
    cursor: Mapped[int]  # the sequence of the last event that it is done with
    conflate_to: Mapped[int] = mapped_column(server_default="0")  # up to here only the newest revisions are sent
    asked: Mapped[list[Any]] = mapped_column(server_default=sa.text("'[]'"))  # tests and replays that wait
    failures: Mapped[int] = mapped_column(sa.Integer, server_default="0")  # in a row
    failing_since: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    lease: Mapped[uuid.UUID | None]  # of the worker that is sending; whoever changes the row takes it away
    lease_until: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class Delivery(Model):
    """One attempt to send one event to one subscription."""

    __tablename__ = "deliveries"
    __table_args__ = (
        sa.Index("ix_deliveries_subscription_id_id", "subscription_id", "id"),
        sa.Index("ix_deliveries_sent_at", "sent_at"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey(Subscription.id, ondelete="CASCADE"))
    event_id: Mapped[uuid.UUID | None]  # of the outbox; null for a test
    message_id: Mapped[str]  # the event's id as the receiver knows it
    kind: Mapped[str]
    dataset: Mapped[str | None]
    revision: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(sa.Integer)
    sent_at: Mapped[datetime]
    seconds: Mapped[float] = mapped_column(sa.Double)
    status: Mapped[int | None] = mapped_column(sa.Integer)  # of the answer; null where there was none
    delivered: Mapped[bool]
    error: Mapped[str | None] = mapped_column(PlainText())
    retry_at: Mapped[datetime | None]


# What whoever sends may change of a subscription.
MOVED_COLUMNS = (
    "active",
    "reason",
    "disabled_at",
    "cursor",
    "conflate_to",
    "asked",
    "failures",
    "failing_since",
    "retry_at",
    "lease",
    "lease_until",
    "delivered_at",
)
