"""Subscriptions in the database: made, listed, changed, ended, and what they are asked to send again. On record."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from api.admin.key_store import Once
from api.admin.key_store import fetch_key as fetch_object
from api.database.idempotency import KEEP_KEY, find_answer
from api.database.rows import timestamp
from api.http.problems import Problem
from catalog.storage.audit import NOTE_AUDIT
from catalog.storage.webhook_secrets import SecretLostError, add_secret, read_secrets, show_secret

ID_BYTES = 8
ASKED_MAXIMUM = 100  # tests and replays that wait
FACTS = f"""
  'id', id, 'product', product, 'major', major, 'datasets', datasets, 'kinds', kinds, 'address', address,
  'owner', owner, 'state', CASE WHEN NOT active THEN 'disabled' WHEN failing_since IS NOT NULL THEN 'failing'
    ELSE 'active' END,
  'reason', reason, 'failures', failures, 'failing_since', {timestamp("failing_since")},
  'retry_at', {timestamp("retry_at")}, 'disabled_at', {timestamp("disabled_at")},
  'delivered_at', {timestamp("delivered_at")}, 'created_at', {timestamp("created_at")}
"""
# The subscriptions of one owner are made one after the other: the limit holds.
LOCK_OWNER = "SELECT FROM decant.api_keys WHERE id = %(owner)s FOR UPDATE"
COUNT = "SELECT count(*) FROM decant.subscriptions WHERE owner = %(owner)s"
INSERT = f"""
INSERT INTO decant.subscriptions (id, owner, product, major, datasets, kinds, address, secrets, cursor)
VALUES (%(id)s, %(owner)s, %(product)s, %(major)s, %(datasets)s, %(kinds)s, %(address)s, %(secrets)s,
  (SELECT coalesce(max(sequence), 0) FROM decant.outbox))
RETURNING json_build_object({FACTS})
"""
MINE = "id = %(id)s AND (%(owner)s::text IS NULL OR owner = %(owner)s)"
GET = f"SELECT json_build_object({FACTS}) FROM decant.subscriptions WHERE {MINE}"
LIST = f"""
SELECT json_build_object({FACTS}) FROM decant.subscriptions WHERE %(owner)s::text IS NULL OR owner = %(owner)s
ORDER BY created_at DESC, id
"""
LOCK = f"SELECT secrets, active, asked FROM decant.subscriptions WHERE {MINE} FOR UPDATE"
# What its owner changes takes the lease away: a worker that is sending moves no cursor, and the event is sent again.
UNLEASED = "lease = NULL, lease_until = NULL"
UPDATE = f"""
UPDATE decant.subscriptions SET {UNLEASED}, datasets = %(datasets)s, kinds = %(kinds)s, address = %(address)s,
  failures = 0, failing_since = NULL, retry_at = NULL, active = %(active)s,
  reason = CASE WHEN %(active)s THEN NULL WHEN active THEN 'disabled by its owner' ELSE reason END,
  disabled_at = CASE WHEN %(active)s THEN NULL ELSE coalesce(disabled_at, now()) END,
  conflate_to = CASE WHEN active THEN conflate_to ELSE (SELECT coalesce(max(sequence), 0) FROM decant.outbox) END
WHERE {MINE} RETURNING json_build_object({FACTS})
"""
REPLACE_SECRETS = f"UPDATE decant.subscriptions SET secrets = %(secrets)s WHERE {MINE}"
DELETE = f"DELETE FROM decant.subscriptions WHERE {MINE} RETURNING product"
ASK = f"""
UPDATE decant.subscriptions SET {UNLEASED}, asked = asked || %(asked)s WHERE {MINE} RETURNING id
"""
# The cursor goes back, and each event behind it is sent again, none passed over for a later one.
REWIND = f"""
UPDATE decant.subscriptions SET {UNLEASED}, failures = 0, failing_since = NULL, retry_at = NULL, conflate_to = 0,
  cursor = least(cursor, (
    SELECT coalesce(min(sequence) - 1, cursor) FROM decant.outbox WHERE created_at >= %(since)s))
WHERE {MINE} RETURNING id
"""
FIND_EVENT = """
SELECT o.event_id::text FROM decant.deliveries AS d JOIN decant.outbox AS o USING (event_id)
WHERE d.subscription_id = %(id)s AND d.message_id = %(message)s ORDER BY d.id DESC LIMIT 1
"""
DELIVERIES = f"""
SELECT id, json_build_object('delivery', id, 'id', message_id, 'kind', kind, 'dataset', dataset, 'revision', revision,
  'attempt', attempt, 'sent_at', {timestamp("sent_at")}, 'seconds', seconds, 'status', status,
  'delivered', delivered, 'error', error, 'retry_at', {timestamp("retry_at")})
FROM decant.deliveries WHERE subscription_id = %(id)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s
"""
KEY = """
SELECT coalesce(line, id), scopes FROM decant.api_keys
WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""
Connection = AsyncConnection


@dataclass(frozen=True)
class By:
    """Who asks: `owner` sees and changes what is theirs alone; None is an operator at the command line."""

    principal: str
    owner: str | None


@dataclass(frozen=True)
class SubscriptionDraft:
    """A subscription as it is asked for."""

    product: str
    major: int
    datasets: Sequence[str] | None
    kinds: Sequence[str]
    address: str

    def values(self) -> dict[str, object]:
        """As a row has it."""
        datasets = None if self.datasets is None else Jsonb(list(self.datasets))
        return {"datasets": datasets, "kinds": Jsonb(list(self.kinds)), "address": self.address}

    def audited(self) -> dict[str, object]:
        """For the record: an address may hold a secret behind its host."""
        datasets = None if self.datasets is None else list(self.datasets)
        return {"kinds": list(self.kinds), "datasets": datasets, "host": urlsplit(self.address).hostname}


async def make_subscription(
    connection: Connection, installation: bytes, draft: SubscriptionDraft, by: By, owner: str, limit: int
) -> dict[str, object]:
    """The facts of a new subscription with its secret; `subscription_limit` where its owner has too many."""
    subscription_id = secrets.token_hex(ID_BYTES)
    text, kept = add_secret(installation, subscription_id, [], datetime.now(UTC))
    row = {"id": subscription_id, "owner": owner, "product": draft.product, "major": draft.major}
    async with connection.transaction():
        await connection.execute(LOCK_OWNER.encode(), row)
        count = await (await connection.execute(COUNT.encode(), row)).fetchone()
        if count is not None and count[0] >= limit:
            raise Problem("subscription_limit", f"The key has {count[0]} subscriptions; at most {limit} are allowed.")
        facts = await fetch_object(connection, INSERT, row | draft.values() | {"secrets": Jsonb(kept)})
        if facts is None:
            raise AssertionError  # an INSERT that returns gives a row
        audited = {"subscription": subscription_id, "owner": owner}
        await note(connection, by, "POST /subscriptions", draft.product, audited | draft.audited())
    return facts | {"secret": text}


async def make_once(
    connection: Connection, installation: bytes, draft: SubscriptionDraft, by: By, limit: int, once: Once
) -> dict[str, object]:
    """As `make_subscription`; a repeated request gets what the first one got, with its secret."""
    if once.key is None:
        return await make_subscription(connection, installation, draft, by, once.principal, limit)
    known = vars(once)
    async with connection.transaction():
        if (answer := await find_answer(connection, known)) is not None:
            return show_again(installation, answer)
        made = await make_subscription(connection, installation, draft, by, once.principal, limit)
        row = await (await connection.execute(LOCK.encode(), name(by, str(made["id"])))).fetchone()
        facts = {name: value for name, value in made.items() if name != "secret"}
        # What the secret is derived from, which its subscription has as well, and never the secret.
        kept = {"facts": facts, "secrets": row[0] if row is not None else []}
        await connection.execute(KEEP_KEY, known | {"answer": Jsonb(kept)})
    return made


def show_again(installation: bytes, answer: dict[str, Any]) -> dict[str, object]:
    """What the first of several requests got; a problem where its secret cannot be made again."""
    facts: dict[str, object] = answer["facts"]
    try:
        (secret,) = read_secrets(installation, str(facts["id"]), answer["secrets"], datetime.now(UTC))
    except SecretLostError:
        raise Problem("idempotency_key_reused", "The secret of the first request cannot be shown again.") from None
    return facts | {"secret": show_secret(secret)}


async def list_subscriptions(connection: Connection, by: By) -> list[dict[str, Any]]:
    """The caller's subscriptions, newest first."""
    rows = await (await connection.execute(LIST.encode(), {"owner": by.owner})).fetchall()
    return [row[0] for row in rows]


async def get_subscription(connection: Connection, by: By, subscription_id: str) -> dict[str, Any]:
    """The facts of one of the caller's subscriptions; `not_found` for any other."""
    facts = await fetch_object(connection, GET, name(by, subscription_id))
    if facts is None:
        raise missing()
    return facts


async def change_subscription(
    connection: Connection, by: By, subscription_id: str, draft: SubscriptionDraft, *, active: bool
) -> dict[str, object]:
    """The facts of a subscription after a change; one that is enabled again is sent what it has missed."""
    values = name(by, subscription_id) | draft.values() | {"active": active}
    async with connection.transaction():
        facts = await fetch_object(connection, UPDATE, values)
        if facts is None:
            raise missing()
        audited = {"subscription": subscription_id, "active": active} | draft.audited()
        await note(connection, by, "PATCH /subscriptions", draft.product, audited)
    return facts


async def rotate_secret(
    connection: Connection, installation: bytes, by: By, subscription_id: str
) -> dict[str, object]:
    """The facts of a subscription with its new secret; the one before signs beside it for a day."""
    names = name(by, subscription_id)
    async with connection.transaction():
        row = await (await connection.execute(LOCK.encode(), names)).fetchone()
        if row is None:
            raise missing()
        text, kept = add_secret(installation, subscription_id, row[0], datetime.now(UTC))
        await connection.execute(REPLACE_SECRETS.encode(), names | {"secrets": Jsonb(kept)})
        facts = await get_subscription(connection, by, subscription_id)
        await note(connection, by, "POST /subscriptions/rotate", facts["product"], {"subscription": subscription_id})
    return facts | {"secret": text}


async def delete_subscription(connection: Connection, by: By, subscription_id: str) -> None:
    """Ends a subscription; its log of deliveries goes with it."""
    async with connection.transaction():
        row = await (await connection.execute(DELETE.encode(), name(by, subscription_id))).fetchone()
        if row is None:
            raise missing()
        await note(connection, by, "DELETE /subscriptions", row[0], {"subscription": subscription_id})


async def ask_test(connection: Connection, by: By, subscription_id: str) -> str:
    """The number of a test event that a worker will send."""
    test = str(uuid4())
    await ask(connection, by, subscription_id, {"test": test, "at": datetime.now(UTC).isoformat()})
    return test


async def ask_replay(connection: Connection, by: By, subscription_id: str, message_id: str) -> None:
    """Lets an event be sent again; `not_found` for one that was not sent, or is no longer kept."""
    await get_subscription(connection, by, subscription_id)
    values = {"id": subscription_id, "message": message_id}
    row = await (await connection.execute(FIND_EVENT.encode(), values)).fetchone()
    if row is None:
        raise Problem("not_found", "No event of this id was sent to the subscription, or it is no longer kept.")
    await ask(connection, by, subscription_id, {"event": row[0]})


async def ask(connection: Connection, by: By, subscription_id: str, asked: dict[str, str]) -> None:
    """Puts a test or a replay where the next free worker finds it."""
    names = name(by, subscription_id)
    async with connection.transaction():
        row = await (await connection.execute(LOCK.encode(), names)).fetchone()
        if row is None:
            raise missing()
        if len(row[2]) >= ASKED_MAXIMUM:
            raise Problem("subscription_limit", f"{ASKED_MAXIMUM} tests and replays wait already.")
        await connection.execute(ASK.encode(), names | {"asked": Jsonb([asked])})


async def rewind(connection: Connection, by: By, subscription_id: str, since: datetime) -> None:
    """Lets everything that happened since a moment be sent again, as far as it is kept."""
    async with connection.transaction():
        names = name(by, subscription_id) | {"since": since}
        if await (await connection.execute(REWIND.encode(), names)).fetchone() is None:
            raise missing()
        facts: dict[str, object] = {"subscription": subscription_id, "since": since.isoformat()}
        await note(connection, by, "POST /subscriptions/replays", None, facts)


async def list_deliveries(
    connection: Connection, by: By, subscription_id: str, before: int | None, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """The deliveries of a subscription, newest first, and the id behind which the next page begins."""
    await get_subscription(connection, by, subscription_id)
    values = {"id": subscription_id, "before": before, "limit": limit + 1}
    rows = await (await connection.execute(DELIVERIES.encode(), values)).fetchall()
    return [row[1] for row in rows[:limit]], rows[limit - 1][0] if len(rows) > limit else None


async def find_key(connection: Connection, key_id: str) -> tuple[str, frozenset[str]]:
    """The line and the scopes of a key that is valid; `not_found` for any other."""
    row = await (await connection.execute(KEY.encode(), {"id": key_id})).fetchone()
    if row is None:
        raise Problem("not_found", "The key does not exist, or is no longer valid.")
    return row[0], frozenset(row[1])


def name(by: By, subscription_id: str) -> dict[str, object]:
    """What names one of the caller's subscriptions in a statement."""
    return {"id": subscription_id, "owner": by.owner}


def missing() -> Problem:
    """The answer for what is not there, or is another's."""
    return Problem("not_found", "The subscription does not exist.")


async def note(connection: Connection, by: By, operation: str, product: str | None, facts: dict[str, object]) -> None:
    """Writes an audit entry."""
    entry = {"principal": by.principal, "operation": operation, "product": product, "dataset": None, "records": None}
    await connection.execute(NOTE_AUDIT, entry | {"facts": Jsonb(facts)})
