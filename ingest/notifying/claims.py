"""Which channel is told what next, and what came of it.

A claim is a lease with a token, as for webhooks. A process that is killed between sending and noting leaves its lease
to run out: then the message is sent once more, and the incident counts as one that may have been told.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
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
TOGETHER_MAXIMUM = 500  # incidents of one message
UNREMINDED = ("schema_changed",)  # what may be so on purpose is told once

Stage = Literal["begun", "reminder", "recovered"]

DUE_WHERE = """
m.closed_at IS NULL AND (m.retry_at IS NULL OR m.retry_at <= :now)
  AND CASE WHEN i.ended_at IS NOT NULL THEN m.sent > 0 OR m.lease IS NOT NULL
    ELSE m.noted_at IS NULL OR (m.noted_at <= :remind AND i.kind <> ALL(:unreminded)) END
"""
STAGE = "CASE WHEN i.ended_at IS NOT NULL THEN 'recovered' WHEN m.sent = 0 THEN 'begun' ELSE 'reminder' END"
# One message of a channel at a time, the oldest incident first; none while one of it waits to be tried again.
DUE = sa.text(f"""
SELECT m.channel FROM decant.incident_messages AS m JOIN decant.incidents AS i ON i.id = m.incident_id
WHERE m.channel = ANY(:channels) AND (m.lease_until IS NULL OR m.lease_until <= :now) AND {DUE_WHERE}
  AND NOT EXISTS (SELECT FROM decant.incident_messages AS other
    WHERE other.channel = m.channel
      AND (other.lease_until > :now OR other.closed_at IS NULL AND other.retry_at > :now))
ORDER BY i.id, m.id LIMIT 1 FOR UPDATE OF m SKIP LOCKED
""")
# What is due for it: together in one message, unless an earlier process has begun to send some of it.
DUE_TOGETHER = sa.text(f"""
SELECT m.id AS message_id, m.sent, m.failures, m.failing_since, m.lease, {STAGE} AS stage, i.*
FROM decant.incident_messages AS m JOIN decant.incidents AS i ON i.id = m.incident_id
WHERE m.channel = :channel AND (m.lease_until IS NULL OR m.lease_until <= :now) AND {DUE_WHERE}
ORDER BY i.id, m.id LIMIT {TOGETHER_MAXIMUM} FOR UPDATE OF m SKIP LOCKED
""")
PUT_OFF = sa.text(f"""
UPDATE decant.incident_messages AS m
SET retry_at = :retry_at, failing_since = coalesce(m.failing_since, :now)
FROM decant.incidents AS i
WHERE i.id = m.incident_id AND m.channel = :channel AND m.id <> ALL(:mine) AND {DUE_WHERE}
""")


@dataclass(frozen=True)
class Claim:
    """A message that this process sends: of one incident, or of several at the same stage."""

    lease: uuid.UUID
    channel: str  # its key
    stage: Stage
    entries: tuple[SqlRow, ...]  # of DUE_TOGETHER, the oldest incident first

    @property
    def message_ids(self) -> list[int]:
        """The rows of the ledger that it is about."""
        return [entry.message_id for entry in self.entries]

    @property
    def incident_ids(self) -> list[int]:
        """The incidents that it is about."""
        return [entry.id for entry in self.entries]

    @property
    def failures(self) -> int:
        """How often it was not taken, in a row."""
        return int(max(entry.failures for entry in self.entries))

    @property
    def failing_since(self) -> datetime | None:
        """When it was not taken first."""
        return min((entry.failing_since for entry in self.entries if entry.failing_since), default=None)


def claim_due(engine: sa.Engine, channels: Collection[str], now: datetime, most: int) -> list[Claim]:
    """What is due, of so many channels at most, each claimed for a while."""
    claims: list[Claim] = []
    while len(claims) < most:
        with engine.begin() as connection:
            left = [key for key in channels if key not in {claim.channel for claim in claims}]
            values = due_values(now)
            channel = connection.execute(DUE, values | {"channels": left}).scalar_one_or_none()
            if channel is None:
                break
            rows = connection.execute(DUE_TOGETHER, values | {"channel": channel}).all()
            claim = make_claim(channel, rows)
            leased = {"lease": claim.lease, "lease_until": now + LEASE, "tried_at": now}
            mine = IncidentMessage.id.in_(claim.message_ids)
            connection.execute(sa.update(IncidentMessage).where(mine).values(leased))
        claims.append(claim)
    return claims


def due_values(now: datetime) -> dict[str, object]:
    """What DUE_WHERE is run with."""
    return {"now": now, "remind": now - REMINDED_AFTER, "unreminded": list(UNREMINDED)}


def make_claim(channel: str, rows: Sequence[SqlRow]) -> Claim:
    """The first of what is due and all that goes with it, with a new token.

    What a process that was killed may have sent goes as it went then: a message that is sent again is the same.
    """
    first = rows[0]
    together = tuple(row for row in rows if (row.stage, row.lease) == (first.stage, first.lease))
    return Claim(lease=uuid.uuid4(), channel=channel, stage=first.stage, entries=together)


def note_sent(engine: sa.Engine, claim: Claim, now: datetime) -> None:
    """Notes that a message was taken."""
    values = {
        "sent": IncidentMessage.sent + 1,
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
        others = {"retry_at": retry_at, "channel": claim.channel, "mine": claim.message_ids}
        connection.execute(PUT_OFF, {**due_values(now), **others})
    return is_over


def finish(connection: sa.Connection, claim: Claim, values: Mapping[str, object]) -> None:
    """Ends a claim; nothing, where it has run out and another process has it."""
    mine = (IncidentMessage.id.in_(claim.message_ids), IncidentMessage.lease == claim.lease)
    ended = {"lease": None, "lease_until": None, **values}
    done = sa.update(IncidentMessage).where(*mine).values(ended)
    connection.execute(done, execution_options={"synchronize_session": False})
