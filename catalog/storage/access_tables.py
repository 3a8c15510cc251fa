"""Decant's own tables about who calls: keys, what they did, how often, and how often they may."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from catalog.storage.ledger_tables import Event, Model, Receipt, ReceiptEvent


class ApiKey(Model):
    """One API key: only a keyed hash of its secret is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secret_hash: Mapped[bytes]
    pepper_version: Mapped[int] = mapped_column(sa.Integer, server_default="1")
    scopes: Mapped[list[Any]]
    rate_limit: Mapped[str | None]  # such as 600/minute; the service's own where null
    created_by: Mapped[str | None]
    replaced_by: Mapped[str | None]  # the key that a rotation made in its place
    line: Mapped[str | None]  # of a key that a rotation made: the first one, whose place it has
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Session(Model):
    """One sign-in to the portal: only a digest of its cookie is kept, and no credential."""

    __tablename__ = "sessions"
    __table_args__ = (sa.Index("ix_sessions_client", "client", "seen_at"),)

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)  # of the 256 random bits in the cookie
    client: Mapped[str]  # who signed in, whatever key they have by now
    key_id: Mapped[str | None]  # the API key that was shown; judged again as API requests are
    claims: Mapped[dict[str, Any] | None]  # of an access token: {subject, issuer, scopes}, as verified
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    expires_at: Mapped[datetime]  # whatever happens until then
    visited_at: Mapped[datetime | None]  # when the client was seen last in an earlier session
    shown_at: Mapped[datetime | None]  # when a credential was shown, or the issuer asked for one
    ended: Mapped[str | None]  # why it ended before its time, such as `signed_out`


class IdempotencyKey(Model):
    """The answer to a request that its sender may repeat."""

    __tablename__ = "idempotency_keys"

    principal: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)  # method and path
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    answer: Mapped[dict[str, Any] | None]  # null while the first request is in flight
    created_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class AuditEntry(Model):
    """Who did what; never which values."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    principal: Mapped[str]
    operation: Mapped[str]
    product: Mapped[str | None]
    dataset: Mapped[str | None]
    records: Mapped[int | None]
    facts: Mapped[dict[str, Any] | None]
    login: Mapped[str | None]  # of the database, which wrote the entry
    hash: Mapped[bytes | None]  # of the entry and of the hash before it; null of before there was a chain


class AuditChain(Model):
    """The last entry's hash, in its one row, whose lock lets one entry follow the other."""

    __tablename__ = "audit_chain"

    id: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    hash: Mapped[bytes]


class RateLease(Model):
    """How many requests a caller was granted in each slot of its window; the row's lock grants one after another."""

    __tablename__ = "rate_leases"

    principal: Mapped[str] = mapped_column(primary_key=True)
    slots: Mapped[list[int]] = mapped_column(ARRAY(sa.BigInteger))  # the slots' numbers, ascending
    granted: Mapped[list[int]] = mapped_column(ARRAY(sa.BigInteger))
    touched_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class KeyUsage(Model):
    """What a principal asked for on one day: how often and how much, never which values."""

    __tablename__ = "key_usage"

    principal: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(sa.Date, primary_key=True)  # in UTC
    product: Mapped[str] = mapped_column(primary_key=True)  # '' where a request was about none
    major: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    dataset: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int]
    refused: Mapped[int]  # of these, answered with 4xx or 5xx
    bytes: Mapped[int]  # of the answers' bodies
    last_at: Mapped[datetime]


class KeyRefusal(Model):
    """The problems that a principal was answered with on one day: how often each code, never why."""

    __tablename__ = "key_refusals"

    principal: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(sa.Date, primary_key=True)  # as in key_usage, with all that follows
    product: Mapped[str] = mapped_column(primary_key=True)
    major: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    dataset: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int]


# What the API's second login may add to, and what it may change besides.
APPENDED_TABLES = (Receipt, Event, ReceiptEvent)
CHANGED_TABLES = (ApiKey, IdempotencyKey, RateLease, KeyUsage, KeyRefusal, Session)
