"""Pagination cursors: a position in a result, sealed against tampering. Pure.

A cursor holds the epoch and the revisions in which the walk began, of every dataset that it reads, the digest of the
query that it belongs to, and which record was given last. Of that record it holds the key alone, and no more of a
long one than finds it again: what it is sorted by is looked up in the same revision, so that a cursor is short
whatever the records hold. It is signed: nobody but us makes one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from catalog.storage.epoch import EPOCH_BYTES
from runtime.json_types import Json

SIGNATURE_BYTES = 16
CURSOR_LIMIT_CHARACTERS = 4096
DIGEST_CHARACTERS = 32  # of the SHA-256 of a shortened value
KEY_BYTES = 240  # of the texts of a key, as JSON
TEXT_LEAST_BYTES = 16  # and of each of them, however many there are
NUMBER_BYTES = 50  # the longest key part that is no text, as JSON: a decimal number of 38 digits


class InvalidCursorError(ValueError):
    """The cursor was forged, cut off, or made for another query."""


@dataclass(frozen=True)
class Cursor:
    """A position in a paginated result."""

    epoch: str
    revisions: tuple[int, ...]
    query: str  # digest of the query that it belongs to
    position: tuple[Any, ...]  # JSON values, by which the kind of question finds its place again


CursorKeyPart: TypeAlias = str | list[str]  # of a key: whole, or [how it begins, its digest]


@dataclass(frozen=True)
class KeyPart:
    """One part of the last record's key, as text: whole, or how it begins and the digest of all of it."""

    text: str
    digest: str | None = None


def digest_query(*parts: object) -> str:
    """A short digest of what a query asks for, and of whose view it asks."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def encode_cursor(cursor: Cursor, secret: bytes) -> str:
    """The cursor as text that is safe in a URL."""
    payload = write_json([cursor.epoch, cursor.revisions, cursor.query, *cursor.position])
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
        raise InvalidCursorError("altered or truncated")
    epoch, revisions, owner, *position = json.loads(payload)
    if owner != query:
        raise InvalidCursorError("made for another query: repeat all other parameters unchanged")
    return Cursor(epoch, tuple(revisions), owner, tuple(position))


def sign(payload: bytes, secret: bytes) -> bytes:
    """The payload's signature; cursors that held other things were signed under another name."""
    return hmac.digest(secret, b"cursor 2:" + payload, "sha256")[:SIGNATURE_BYTES]


def write_json(value: Json) -> bytes:
    """JSON in as few bytes as it takes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def text_room(texts: int) -> int:
    """How many bytes of each text a cursor holds, where a key has so many of them."""
    return max(KEY_BYTES // max(texts, 1), TEXT_LEAST_BYTES)


def shorten_key(key: Sequence[str], are_texts: Sequence[bool]) -> list[CursorKeyPart]:
    """The parts of a key as a cursor holds them: a long text as [how it begins, its digest]."""
    room = text_room(sum(are_texts))
    return [truncate_key_text(part, room) if is_text else part for part, is_text in zip(key, are_texts, strict=True)]


def truncate_key_text(text: str, room: int) -> CursorKeyPart:
    """A text, or [how it begins, its digest] where it takes more room."""
    if len(text) <= room and len(write_json(text)) - 2 <= room:
        return text
    start = text[:room]
    while len(write_json(start)) - 2 > room:
        start = start[:-1]
    return [start, hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]]


def open_key(parts: Sequence[CursorKeyPart]) -> tuple[KeyPart, ...]:
    """The parts of a key that a cursor holds."""
    return tuple(KeyPart(part) if isinstance(part, str) else KeyPart(*part) for part in parts)


def longest_cursor(datasets: int, sorted_by: int, are_texts: Sequence[bool]) -> int:
    """The most characters that a cursor has: of a walk over so many datasets, order and key."""
    texts = sum(are_texts)
    digits, epoch = 20, 2 * EPOCH_BYTES + 3
    payload = 2 + epoch + datasets * (digits + 1) + 19 + (sorted_by // 3 + 3) + digits
    payload += texts * (text_room(texts) + DIGEST_CHARACTERS + 8) + (len(are_texts) - texts) * (NUMBER_BYTES + 3)
    return (SIGNATURE_BYTES + payload) * 4 // 3 + 2
