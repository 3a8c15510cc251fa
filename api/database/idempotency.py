"""Idempotency keys: a repeated request gets the stored response."""

from __future__ import annotations

import hashlib
from typing import Any

from psycopg import AsyncConnection

from api.http.problems import Problem
from catalog.storage.ledger_tables import IDEMPOTENCY_HOURS

LOCK_KEY = "SELECT pg_try_advisory_xact_lock(%s)"
FIND_KEY = (
    "SELECT body_sha256, answer FROM decant.idempotency_keys"
    " WHERE principal = %(principal)s AND operation = %(operation)s AND key = %(key)s"
    f" AND created_at > now() - interval '{IDEMPOTENCY_HOURS} hours'"
)

FORGET_KEY = (
    "DELETE FROM decant.idempotency_keys"
    " WHERE principal = %(principal)s AND operation = %(operation)s AND key = %(key)s"
)

KEEP_KEY = (
    "INSERT INTO decant.idempotency_keys (principal, operation, key, body_sha256, answer)"
    " VALUES (%(principal)s, %(operation)s, %(key)s, %(body_sha256)s, %(answer)s)"
)


async def find_answer(connection: AsyncConnection, known: dict[str, Any]) -> dict[str, Any] | None:
    """The answer that a request with this key got before; None where it is the first, which then holds the key.

    `request_in_flight` where the first is not answered yet, `idempotency_key_reused` where it had another body.
    """
    words = f"{known['principal']}\n{known['operation']}\n{known['key']}"
    number = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], signed=True)
    held = await (await connection.execute(LOCK_KEY, (number,))).fetchone()
    if not held or not held[0]:
        raise Problem("request_in_flight")
    row = await (await connection.execute(FIND_KEY, known)).fetchone()
    if row is None:
        await connection.execute(FORGET_KEY, known)  # it may be there still, and expired
        return None
    if row[0] != known["body_sha256"]:
        raise Problem("idempotency_key_reused")
    answer: dict[str, object] = row[1]
    return answer
