"""Stores pushed records durably in one transaction before the push is acknowledged."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, errors
from psycopg.types.json import Jsonb

from api.database.idempotency import KEEP_KEY, find_answer
from api.http.problems import Problem
from api.push.event_body import PushedRecord
from catalog.model.dataset import Dataset
from catalog.storage.channels import EVENTS_CHANNEL
from runtime.errors import DatabaseUnavailableError, QueryTimeoutError
from runtime.postgres.database import translate_error
from runtime.postgres.poolers import ConnectionPool

ATTEMPTS = 3  # two pushes of the same events in another order may block one another

# The records come as one JSON array: a parameter for each, or an array of texts, would be written by Python, sign by
# sign. A record without an identity gets that of its place in this request.
IDENTITY = (
    "coalesce(item ->> 0, 'receipt:' || %(receipt)s::text) AS source,"
    " coalesce(item ->> 1, position::text) AS event_id"
)

# Records in the order of the body, which is the order of their ids; those that came before are left as they are.
KEEP_EVENTS = f"""
WITH head AS (
  SELECT id FROM decant.datasets WHERE product = %(product)s AND major = %(major)s AND dataset = %(dataset)s
), given AS (
  SELECT {IDENTITY}, item ->> 2 AS payload, position
  FROM json_array_elements(%(given)s::json) WITH ORDINALITY AS given (item, position)
), fresh AS (
  INSERT INTO decant.events (dataset_id, source, event_id, payload)
  SELECT head.id, source, event_id, payload FROM head CROSS JOIN given ORDER BY position
  ON CONFLICT (dataset_id, source, event_id) DO NOTHING
  RETURNING id, source, event_id
), receipt AS (
  INSERT INTO decant.receipts (id, dataset_id, principal, records, repeated)
  SELECT %(receipt)s, head.id, %(principal)s, %(records)s, %(records)s - (SELECT count(*) FROM fresh) FROM head
  RETURNING repeated
), linked AS (
  INSERT INTO decant.receipt_events (receipt_id, position, event)
  SELECT %(receipt)s, position, fresh.id FROM given JOIN fresh USING (source, event_id)
  RETURNING 1
)
SELECT repeated, (SELECT count(*) FROM linked), pg_notify(%(channel)s, (SELECT id::text FROM head)) FROM receipt
"""

# The events that other pushes brought are seen by the next statement only. What became of those that somebody else
# had brought is not for this receipt to tell: they count as repeated, and that is all.
LINK_REPEATED = f"""
INSERT INTO decant.receipt_events (receipt_id, position, event)
SELECT %(receipt)s, position, events.id
FROM (
  SELECT {IDENTITY}, position
  FROM json_array_elements(%(given)s::json) WITH ORDINALITY AS given (item, position)
) AS given
JOIN decant.events USING (source, event_id)
WHERE dataset_id = (
  SELECT id FROM decant.datasets WHERE product = %(product)s AND major = %(major)s AND dataset = %(dataset)s
)
  AND EXISTS (
    SELECT 1 FROM decant.receipt_events AS earlier JOIN decant.receipts AS r ON r.id = earlier.receipt_id
    WHERE earlier.event = events.id AND r.principal = %(principal)s
  )
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class PackedRecords:
    """Records as one text for the database."""

    count: int
    text: str  # JSON: an array of [source, id, payload]


@dataclass(frozen=True)
class Push:
    """One request that brings records."""

    dataset: Dataset
    principal: str
    records: PackedRecords
    key: str | None  # the Idempotency-Key
    body_sha256: str


class EventStore:
    """Keeps pushed records; on the API's second login, which can add them and change none."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool

    async def keep(self, push: Push) -> dict[str, Any]:
        """The response to the sender, once everything is on disk; the same again for a repeated request."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self.pool.connection() as connection, connection.transaction():
                    return await keep_once(connection, push)
            except errors.DeadlockDetected as error:
                if attempt == ATTEMPTS:
                    raise DatabaseUnavailableError() from error
            except Problem:
                raise
            except Exception as error:
                translated = translate_error(error)
                # A request that waited for a lock may be retried: nothing of it is stored.
                again = DatabaseUnavailableError() if isinstance(translated, QueryTimeoutError) else translated
                raise again from error
        raise AssertionError  # the last attempt returned or raised


async def keep_once(connection: AsyncConnection, push: Push) -> dict[str, object]:
    """One attempt, inside a transaction."""
    known = {
        "principal": push.principal,
        "operation": f"POST {push.dataset.path}/events",
        "key": push.key,
        "body_sha256": push.body_sha256,
    }
    if push.key is not None and (answer := await find_answer(connection, known)) is not None:
        return answer
    receipt = uuid.uuid4()
    facts = {
        "product": push.dataset.product,
        "major": push.dataset.major,
        "dataset": push.dataset.name,
        "receipt": receipt,
        "principal": push.principal,
        "records": push.records.count,
        "channel": EVENTS_CHANNEL,
        "given": push.records.text,
    }
    row = await (await connection.execute(KEEP_EVENTS, facts)).fetchone()
    if row is None:
        raise DatabaseUnavailableError()  # the contract has no table yet
    repeated, linked, _ = row
    if linked < push.records.count:
        await connection.execute(LINK_REPEATED, facts)
    status_url = f"{push.dataset.path}/receipts/{receipt}"
    answer = {"receipt": str(receipt), "records": push.records.count, "repeated": repeated, "status_url": status_url}
    if push.key is not None:
        await connection.execute(KEEP_KEY, {**known, "answer": Jsonb(answer)})
    return answer


def pack_records(records: Sequence[PushedRecord]) -> PackedRecords:
    """The records as one text; written off the event loop where they are many or long."""
    given = [(record.source or None, record.id or None, record.payload) for record in records]
    return PackedRecords(len(records), json.dumps(given, ensure_ascii=False))
