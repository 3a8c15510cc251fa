"""Which channel is told what next, and what came of it.

A claim is a lease with a token, as for webhooks. A process that is killed between sending and noting leaves its lease
to run out: then the message is sent once more, and the incident counts as one that may have been told.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from catalog.storage.incident_tables import IncidentMessage
from runtime.postgres.sql_types import SqlRow

LEASE = timedelta(minutes=5)  # much longer than one message takes
REMINDED_AFTER = timedelta(days=1)
TRIED_FOR = timedelta(days=1)
# Until the next attempt, after so many failures; the last one again and again.
WAITS = tuple(timedelta(seconds=seconds) for seconds in (60, 300, 900, 1800, 3600, 7200, 14_400))
UNREMINDED = ("schema_changed",)  # what may be so on purpose is told once

Stage = Literal["begun", "reminder", "recovered"]

DUE_WHERE = """
m.closed_at IS NULL AND (m.retry_at IS NULL OR m.retry_at <= :now)
  AND CASE WHEN i.ended_at IS NOT NULL THEN m.sent > 0 OR m.lease IS NOT NULL
    ELSE m.noted_at IS NULL OR (m.noted_at <= :remind AND i.kind <> ALL(:unreminded)) END
"""
# One message of a channel at a time, the oldest incident first.
DUE = sa.text(f"""
SELECT m.id AS message_id, m.channel, m.sent, m.failures, m.failing_since, i.*
FROM decant.incident_messages AS m JOIN decant.incidents AS i ON i.id = m.incident_id
WHERE m.channel = ANY(:channels) AND (m.lease_until IS NULL OR m.lease_until <= :now) AND {DUE_WHERE}
  AND NOT EXISTS (SELECT FROM decant.incident_messages AS other
    WHERE other.channel = m.channel AND other.lease_until > :now)
ORDER BY i.id, m.id LIMIT 1 FOR UPDATE OF m SKIP LOCKED
""")
PUT_OFF = sa.text(f"""
UPDATE decant.incident_messages AS m
SET retry_at = :retry_at, failing_since = coalesce(m.failing_since, :now)
FROM decant.incidents AS i
WHERE i.id = m.incident_id AND m.channel = :channel AND m.id <> :mine AND {DUE_WHERE}
""")


@dataclass(frozen=True)
class Claim:
    """A message that this process sends."""

    message_id: int
    lease: uuid.UUID
    channel: str  # its key
    stage: Stage
    sent: int  # messages before it
    failures: int
    failing_since: datetime | None
    incident: SqlRow


def claim_due(engine: sa.Engine, channels: Collection[str], now: datetime, most: int) -> list[Claim]:
    """What is due, of so many channels at most, each claimed for a while."""
    claims: list[Claim] = []
    while len(claims) < most:
        with engine.begin() as connection:
            left = [key for key in channels if key not in {claim.channel for claim in claims}]
            row = connection.execute(DUE, due_values(now) | {"channels": left}).one_or_none()
            if row is None:
                break
            claim = make_claim(row)
            values = {"lease": claim.lease, "lease_until": now + LEASE, "tried_at": now}
            mine = IncidentMessage.id == claim.message_id
            connection.execute(sa.update(IncidentMessage).where(mine).values(values))
        claims.append(claim)
    return claims


def due_values(now: datetime) -> dict[str, object]:
    """What DUE_WHERE is run with."""
    return {"now": now, "remind": now - REMINDED_AFTER, "unreminded": list(UNREMINDED)}


def make_claim(row: SqlRow) -> Claim:
    """A row of DUE as a claim, with a new token."""
    stage: Stage = "begun" if row.sent == 0 else "reminder"
    return Claim(
        message_id=row.message_id,
        lease=uuid.uuid4(),
        channel=row.channel,
        stage="recovered" if row.ended_at is not None else stage,
        sent=row.sent,
        failures=row.failures,
        failing_since=row.failing_since,
        incident=row,
    )


def note_sent(engine: sa.Engine, claim: Claim, now: datetime) -> None:
    """Notes that a message was taken."""
    values = {
        "sent": claim.sent + 1,
        "noted_at": now,
        "closed_at": now if claim.stage == "recovered" else None,
        "error": None,
    }
    with engine.begin() as connection:
        finish(connection, claim, values | {"failures": 0, "failing_since": None, "retry_at": None})


def note_failed(engine: sa.Engine, claim: Claim, now: datetime, error: str) -> bool:
    """Notes that a message was not taken, and puts off all of its channel; whether it is given up, after a day.

    What is given up is told again with the next reminder, while the incident lasts.
    """
    since = claim.failing_since or now
    retry_at = now + WAITS[min(claim.failures, len(WAITS) - 1)]
    is_over = retry_at > since + TRIED_FOR
    values: dict[str, object] = {"error": error, "failures": claim.failures + 1, "failing_since": since}
    values["retry_at"] = retry_at
    if is_over:
        values |= {"failures": 0, "failing_since": None, "retry_at": None, "noted_at": now}
        values["closed_at"] = now if claim.stage == "recovered" else None
    with engine.begin() as connection:
        finish(connection, claim, values)
        others = {"retry_at": retry_at, "channel": claim.channel, "mine": claim.message_id}
        connection.execute(PUT_OFF, {**due_values(now), **others})
    return is_over


def finish(connection: sa.Connection, claim: Claim, values: Mapping[str, object]) -> None:
    """Ends a claim; nothing, where it has run out and another process has it."""
    mine = (IncidentMessage.id == claim.message_id, IncidentMessage.lease == claim.lease)
    ended = {"lease": None, "lease_until": None, **values}
    connection.execute(sa.update(IncidentMessage).where(*mine).values(ended))
