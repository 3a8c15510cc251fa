"""Which subscription is sent what next: claimed for a while by one worker, so that events arrive in their order.

A claim is a lease with a token. A worker that is killed leaves it to run out, and the event is sent again; one that
only slept finds another token, or none, and notes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from catalog.model.dataset import Product
from catalog.storage.ledger_tables import TIMESTAMP, AppliedContract
from catalog.storage.outbox import OutboxEvent, last_sequence
from catalog.storage.subscription_rights import Wanted
from catalog.storage.subscription_tables import Subscription
from ingest.delivery.message import TEST_KIND, Event
from runtime.plain_text import map_texts, restore_text
from runtime.postgres.sql_types import SqlRow

LEASE = timedelta(seconds=60)  # much longer than one message takes

# The first event that waits for each subscription whose turn it is. While its receiver fails, and of what waited in
# that time, a revision that a later one follows is passed over. Tests and replays that were asked for go before.
DUE = sa.text("""
SELECT s.*, e.sequence, e.event_id, e.kind, e.dataset, e.facts, e.created_at AS happened_at
FROM decant.subscriptions AS s LEFT JOIN LATERAL (
  SELECT o.sequence, o.event_id, o.kind, o.dataset, o.facts, o.created_at FROM decant.outbox AS o
  WHERE o.product = s.product AND o.major = s.major AND o.sequence > s.cursor
    AND s.kinds @> to_jsonb(o.kind) AND (s.datasets IS NULL OR s.datasets @> to_jsonb(o.dataset))
    AND NOT (o.kind = 'revision.published' AND (s.failures > 0 OR o.sequence <= s.conflate_to) AND EXISTS (
      SELECT FROM decant.outbox AS later WHERE later.product = o.product AND later.major = o.major
        AND later.dataset = o.dataset AND later.kind = o.kind AND later.sequence > o.sequence))
  ORDER BY o.sequence LIMIT 1
) AS e ON s.active AND (s.retry_at IS NULL OR s.retry_at <= :now)
WHERE (s.lease_until IS NULL OR s.lease_until <= :now) AND (jsonb_array_length(s.asked) > 0 OR e.sequence IS NOT NULL)
  AND s.product || '@' || s.major = ANY(:products)
ORDER BY s.delivered_at NULLS FIRST, e.sequence LIMIT :most FOR UPDATE OF s SKIP LOCKED
""")
IDLE = sa.text("""
UPDATE decant.subscriptions AS s SET cursor = :last WHERE s.active AND s.lease IS NULL AND s.cursor < :last
AND NOT EXISTS (SELECT FROM decant.outbox AS o WHERE o.product = s.product AND o.major = s.major
  AND o.sequence > s.cursor AND o.sequence <= :last AND s.kinds @> to_jsonb(o.kind)
  AND (s.datasets IS NULL OR s.datasets @> to_jsonb(o.dataset)))
""")


@dataclass(frozen=True)
class Claim:
    """A subscription that this worker sends one event to."""

    subscription_id: str
    lease: uuid.UUID
    owner: str
    product: str
    major: int
    wanted: Wanted
    address: str
    secrets: list[dict[str, Any]]
    failures: int
    event: Event | None  # None where what was asked to be sent again is no longer kept
    asked: bool  # whether a person asked for it: a test, a replay; it is tried once


def claim_due(engine: sa.Engine, products: Collection[str], now: datetime, most: int) -> list[Claim]:
    """As many subscriptions to these products (id@major) as there are events for, each claimed for a minute."""
    with engine.begin() as connection:
        rows = connection.execute(DUE, {"now": now, "products": list(products), "most": most}).all()
        claims = []
        for row in rows:
            event = read_asked(connection, row) if row.asked else read_event(row, row.happened_at, row.sequence)
            claims.append(make_claim(row, event))
        for claim in claims:
            values: dict[str, object] = {"lease": claim.lease, "lease_until": now + LEASE}
            if claim.failures:
                values["conflate_to"] = last_sequence(connection)
            mine = Subscription.id == claim.subscription_id
            connection.execute(sa.update(Subscription).where(mine).values(values))
    return claims


def make_claim(row: SqlRow, event: Event | None) -> Claim:
    """A row of DUE as a claim, with a new token."""
    return Claim(
        subscription_id=row.id,
        lease=uuid.uuid4(),
        owner=row.owner,
        product=row.product,
        major=row.major,
        wanted=Wanted(row.datasets, row.kinds),
        address=row.address,
        secrets=row.secrets,
        failures=row.failures,
        event=event,
        asked=bool(row.asked),
    )


def read_event(row: SqlRow, happened_at: datetime, sequence: int | None) -> Event:
    """An event of the outbox."""
    facts: Any = map_texts(row.facts, restore_text)
    return Event(row.event_id, row.kind, row.product, row.major, row.dataset, facts, happened_at, sequence)


def read_asked(connection: sa.Connection, row: SqlRow) -> Event | None:
    """The test or the event that somebody asked for first; None where the event is no longer kept."""
    asked = row.asked[0]
    if "test" in asked:
        facts = {"subscription": row.id}
        at = datetime.fromisoformat(asked["at"])
        return Event(uuid.UUID(asked["test"]), TEST_KIND, row.product, row.major, None, facts, at)
    found = connection.execute(
        sa.select(OutboxEvent.__table__).where(
            OutboxEvent.event_id == uuid.UUID(asked["event"]),
            OutboxEvent.product == row.product,
            OutboxEvent.major == row.major,
        )
    ).one_or_none()
    return read_event(found, found.created_at, None) if found else None


def read_scopes(engine: sa.Engine, subscription_id: str, now: datetime) -> frozenset[str] | None:
    """What the key of a subscription may do now; None where it is revoked or expired, and none has taken its place.

    A function of the database tells it: the login of ingestion reads no keys.
    """
    query = sa.func.decant.webhook_scopes(subscription_id, sa.cast(now, TIMESTAMP), type_=JSONB)
    with engine.connect() as connection:
        scopes = connection.execute(sa.select(query)).scalar_one()
    return None if scopes is None else frozenset(scopes)


def is_migrated(engine: sa.Engine, product: Product) -> bool:
    """Whether the contract is the one that the database was migrated to last: another one judges nobody's rights."""
    where = (AppliedContract.product == product.id, AppliedContract.major == product.major)
    with engine.connect() as connection:
        applied = connection.execute(sa.select(AppliedContract.sha256).where(*where)).scalar_one_or_none()
    return applied == product.sha256
