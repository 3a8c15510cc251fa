"""Cursors: where a walk stands, sealed against change. Pure.

A cursor holds the epoch and the revisions in which the walk began, of every dataset that it reads, the digest of the
query that it belongs to, and the sort values and key of the last record that was given. It is signed: nobody but us
makes one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass

SIGNATURE_BYTES = 16
CURSOR_LIMIT_CHARACTERS = 4096


class InvalidCursorError(ValueError):
    """The cursor was forged, cut off, or made for another query."""


@dataclass(frozen=True)
class Cursor:
    """Where a walk stands: `after` are the last record's sort values and key as text, None for null."""

    epoch: str
    revisions: tuple[int, ...]
    query: str  # digest of the query that it belongs to
    after: tuple[str | None, ...]


def digest_query(*parts: object) -> str:
    """A short digest of what a query asks for, and of whose view it asks."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def encode_cursor(cursor: Cursor, secret: bytes) -> str:
    """The cursor as text that is safe in a URL."""
    payload = json.dumps(
        [cursor.epoch, cursor.revisions, cursor.query, *cursor.after], separators=(",", ":")
    ).encode()
    return base64.urlsafe_b64encode(sign(payload, secret) + payload).rstrip(b"=").decode()


def decode_cursor(text: str, secret: bytes, query: str) -> Cursor:
    """The cursor that `text` seals; InvalidCursorError unless it is ours and belongs to `query`."""
    if len(text) > CURSOR_LIMIT_CHARACTERS:
        raise InvalidCursorError("longer than any cursor")
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidCursorError("not a cursor") from None
    signature, payload = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, sign(payload, secret)):
        raise InvalidCursorError("changed or cut off")
    epoch, revisions, owner, *after = json.loads(payload)
    if owner != query:
        raise InvalidCursorError("made for another query: keep every other parameter as it was")
    return Cursor(epoch, tuple(revisions), owner, tuple(after))


def sign(payload: bytes, secret: bytes) -> bytes:
    """The payload's signature."""
    return hmac.digest(secret, b"cursor:" + payload, "sha256")[:SIGNATURE_BYTES]
