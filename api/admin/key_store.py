"""API keys in the database: created, listed, rotated, revoked. Each operation is audited; no secret is stored."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from api.auth.api_keys import KeyDraft, Peppers, draft_row
from api.database.idempotency import KEEP_KEY, find_answer
from api.database.rows import timestamp
from api.http.problems import Problem
from catalog.storage.audit import NOTE_AUDIT

NONCE_BYTES = 32
STATES = ("active", "revoked", "expired", "all")
FACTS = f"""
  'id', id, 'name', name, 'scopes', scopes, 'rate_limit', rate_limit, 'created_at', {timestamp("created_at")},
  'created_by', created_by, 'expires_at', {timestamp("expires_at")}, 'revoked_at', {timestamp("revoked_at")},
  'last_used_at', {timestamp("last_used_at")}, 'replaced_by', replaced_by,
  'state', CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END
"""
INSERT = f"""
INSERT INTO decant.api_keys (id, name, secret_hash, pepper_version, scopes, expires_at, rate_limit, created_by,
  line)
VALUES (%(id)s, %(name)s, %(secret_hash)s, %(pepper_version)s, %(scopes)s, %(expires_at)s, %(rate_limit)s,
  %(created_by)s, %(line)s)
RETURNING json_build_object({FACTS})
"""
GET = f"SELECT json_build_object({FACTS}) FROM decant.api_keys WHERE id = %(id)s"
# What a holder is told of the own key: the one before it, when its line began, and its life.
OWN = f"""
SELECT json_build_object({FACTS}), (
    SELECT json_build_object('id', o.id, 'expires_at', {timestamp("o.expires_at")}, 'ended',
      o.revoked_at IS NOT NULL OR coalesce(o.expires_at <= now(), false))
    FROM decant.api_keys AS o WHERE o.replaced_by = api_keys.id
  ), (SELECT f.created_at FROM decant.api_keys AS f WHERE f.id = coalesce(api_keys.line, api_keys.id)),
  now(), created_at, expires_at
FROM decant.api_keys WHERE id = %(id)s
"""
LIST = f"""
SELECT id, json_build_object({FACTS}) FROM decant.api_keys AS k
WHERE (%(state)s = 'all'
    OR %(state)s = CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired'
      ELSE 'active' END)
  AND (%(before)s::text IS NULL
    OR (created_at, id) < (SELECT created_at, id FROM decant.api_keys WHERE id = %(before)s))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
# Rotations and revocations of one line wait for each other at its first key: no successor slips through.
LOCK_LINE = """
SELECT created_at, now() FROM decant.api_keys
WHERE id = (SELECT coalesce(line, id) FROM decant.api_keys WHERE id = %(id)s) FOR UPDATE
"""
LOCK = """
SELECT name, scopes, rate_limit, coalesce(line, id), created_at, expires_at, replaced_by,
  revoked_at IS NOT NULL OR expires_at <= now()
FROM decant.api_keys WHERE id = %(id)s FOR UPDATE
"""
REPLACE = """
UPDATE decant.api_keys
SET replaced_by = %(new)s, expires_at = least(expires_at, now() + %(overlap)s::interval) WHERE id = %(id)s
RETURNING id
"""
REVOKE = """
UPDATE decant.api_keys SET revoked_at = now()
WHERE revoked_at IS NULL AND CASE WHEN %(only)s THEN id = %(id)s
  ELSE coalesce(line, id) = (SELECT coalesce(line, id) FROM decant.api_keys WHERE id = %(id)s) END
RETURNING id
"""
Connection = AsyncConnection


@dataclass(frozen=True)
class Once:
    """A request that may be repeated: it is answered as it was the first time."""

    principal: str
    operation: str
    key: str | None  # the Idempotency-Key
    body_sha256: str


async def make_key(connection: Connection, peppers: Peppers, draft: KeyDraft, once: Once) -> dict[str, object]:
    """The new key's facts with its text as `key`.

    A repeated request gets the same: the key is made again out of a nonce, which is forgotten with the request.
    """
    async with connection.transaction():
        known = vars(once)
        answer = await find_answer(connection, known) if once.key is not None else None
        if answer is not None:
            text, _ = draft_row(draft, peppers, answer["nonce"])
            facts: dict[str, object] = answer["facts"]
            if not text.startswith(f"dcnt_{facts['id']}_"):
                # The pepper has changed since: what was shown then cannot be shown again.
                raise Problem("idempotency_key_reused", "The key of the first request cannot be shown again.")
            return facts | {"key": text}
        nonce = secrets.token_hex(NONCE_BYTES)
        text, facts = await insert_key(connection, peppers, draft, nonce, once)
        if once.key is not None:
            await connection.execute(KEEP_KEY, known | {"answer": Jsonb({"facts": facts, "nonce": nonce})})
        return facts | {"key": text}


async def insert_key(
    connection: Connection, peppers: Peppers, draft: KeyDraft, nonce: str | None, once: Once
) -> tuple[str, dict[str, object]]:
    """The text and the facts of a new key, on record."""
    text, row = draft_row(draft, peppers, nonce)
    facts = await fetch_key(connection, INSERT, row | {"scopes": Jsonb(row["scopes"])})
    if facts is None:
        raise AssertionError  # an INSERT that returns gives a row
    await note(connection, once.principal, once.operation, {"key": facts["id"], "scopes": facts["scopes"]})
    return text, facts


@dataclass(frozen=True)
class Rotation:
    """Which key another one is made for, and how long each of them is valid."""

    key_id: str
    overlap: timedelta  # for which the old one stays valid
    expires_at: datetime | None  # of the new one; as long a life as the old one's where it is None
    line_days: int  # after which the line of a key ends for its holder; 0 for never


@dataclass(frozen=True)
class Life:
    """The life of a key that may be rotated."""

    began: datetime  # that of the first key of its line
    now: datetime
    created_at: datetime
    ends: datetime | None

    def of_successor(self, asked: datetime | None, line_days: int, *, by_holder: bool) -> datetime | None:
        """When the key ends that takes its place; `key_not_active` where the holder's line is over."""
        expires_at = asked
        if self.ends is not None and (expires_at is None or by_holder):
            renewed = renew_span(self.now, self.created_at, self.ends)
            expires_at = min(expires_at or renewed, renewed)
        if line_days and by_holder:
            last = self.began + timedelta(days=line_days)
            if last <= self.now:
                raise Problem(
                    "key_not_active",
                    "Keys of this line can no longer be rotated: ask an administrator for a new key.",
                )
            expires_at = min(expires_at or last, last)
        return expires_at


async def find_own_key(connection: Connection, key_id: str, line_days: int) -> dict[str, object] | None:
    """The facts of a holder's key, with the key before it, and when one would end that takes its place now."""
    row = await (await connection.execute(OWN.encode(), {"id": key_id})).fetchone()
    if row is None:
        return None
    facts, predecessor, *life = row
    try:
        ends = Life(*life).of_successor(None, line_days, by_holder=True)
        rotation = {"possible": facts["replaced_by"] is None, "expires_at": ends and ends.astimezone(UTC).isoformat()}
    except Problem:
        rotation = {"possible": False, "expires_at": None}
    key: dict[str, object] = facts | {"predecessor": predecessor, "rotation": rotation}
    return key


async def rotate_key(connection: Connection, peppers: Peppers, rotation: Rotation, once: Once) -> dict[str, object]:
    """The facts and the text of the key that takes the place of another, which stays valid for the overlap.

    It has the same name, scopes and limit and, unless said otherwise, span of life; whoever rotates their own key
    gets no longer one, and none behind the end of the line. All keys of a line share its rate and its receipts.
    `key_not_active` for a key that is over or was rotated before.
    """
    key_id = rotation.key_id
    async with connection.transaction():
        began, now = await (await connection.execute(LOCK_LINE, {"id": key_id})).fetchone() or (None, None)
        row = await (await connection.execute(LOCK, {"id": key_id})).fetchone()
        if row is None or began is None or now is None:
            raise Problem("not_found", "The key does not exist.")
        name, scopes, rate_limit, line, created_at, ends, replaced_by, over = row
        if over or replaced_by is not None:
            raise Problem("key_not_active")
        by_holder = once.principal == key_id
        life = Life(began, now, created_at, ends)
        expires_at = life.of_successor(rotation.expires_at, rotation.line_days, by_holder=by_holder)
        draft = KeyDraft(name, tuple(scopes), expires_at, rate_limit, once.principal, line)
        text, facts = await insert_key(connection, peppers, draft, None, once)
        await connection.execute(REPLACE, {"id": key_id, "new": facts["id"], "overlap": rotation.overlap})
        return facts | {"key": text, "replaces": key_id}


def renew_span(now: datetime, created_at: datetime, ends: datetime) -> datetime:
    """When a key ends that lives from now on as long as one between these moments."""
    try:
        return now + (ends - created_at)
    except OverflowError:
        return ends  # "never", as some write it: the year 9999


async def revoke_key(connection: Connection, key_id: str, once: Once, *, only: bool = False) -> list[str]:
    """The ids of the keys that are revoked now, for good: the key's whole line, or the key `only`.

    Whoever holds a stolen key may have rotated it: what took its place is theirs too. Again for one that has ended
    changes nothing.
    """
    async with connection.transaction():
        if await (await connection.execute(LOCK_LINE, {"id": key_id})).fetchone() is None:
            raise Problem("not_found", "The key does not exist.")
        rows = await (await connection.execute(REVOKE, {"id": key_id, "only": only})).fetchall()
        revoked = sorted(row[0] for row in rows)
        await note(connection, once.principal, once.operation, {"key": key_id, "revoked": revoked})
        return revoked


async def list_keys(
    connection: Connection, state: str, before: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """The keys, newest first, and the id behind which the next page begins."""
    facts = {"state": state, "before": before, "limit": limit + 1}
    rows = await (await connection.execute(LIST, facts)).fetchall()
    behind = rows[limit - 1][0] if len(rows) > limit else None
    return [row[1] for row in rows[:limit]], behind


async def get_key(connection: Connection, key_id: str) -> dict[str, object] | None:
    """The facts of one key."""
    return await fetch_key(connection, GET, {"id": key_id})


async def fetch_key(connection: Connection, statement: str, values: dict[str, object]) -> dict[str, object] | None:
    """The one JSON object that a statement gives."""
    row = await (await connection.execute(statement.encode(), values)).fetchone()
    return row[0] if row else None


async def note(connection: Connection, principal: str, operation: str, facts: dict[str, object]) -> None:
    """Writes an audit entry."""
    entry = {"principal": principal, "operation": operation, "product": None, "dataset": None, "records": None}
    await connection.execute(NOTE_AUDIT, entry | {"facts": Jsonb(facts)})
