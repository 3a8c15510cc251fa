"""API keys: `dcnt_<id>_<secret><checksum>`. Only a keyed hash of the secret is ever stored.

The checksum lets a mistyped key be refused without asking the database.
"""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from catalog.access_models import ApiKey

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_PREFIX = "dcnt_"
ID_CHARACTERS = 12
SECRET_CHARACTERS = 32  # 190 random bits
CHECKSUM_CHARACTERS = 6
KEY_TEXT = re.compile(
    rf"dcnt_([0-9A-Za-z]{{{ID_CHARACTERS}}})_([0-9A-Za-z]{{{SECRET_CHARACTERS}}})([0-9A-Za-z]{{{CHECKSUM_CHARACTERS}}})"
)
SCOPE_TEXT = re.compile(
    r"[A-Za-z0-9._-]+:(read(:(confidential|restricted))?|write|role:[A-Za-z0-9._-]+)|ops:(read|write)|keys:admin"
)


@dataclass(frozen=True)
class KeyText:
    """A well-formed key, not yet known to be a valid one."""

    id: str
    secret: str


def parse_key(text: str) -> KeyText | None:
    """The parts of a key, or None where it is malformed or mistyped."""
    match = KEY_TEXT.fullmatch(text)
    if match is None or not hmac.compare_digest(checksum(match[1], match[2]), match[3]):
        return None
    return KeyText(match[1], match[2])


def checksum(key_id: str, secret: str) -> str:
    """CRC-32 of id and secret, in base 62."""
    number = zlib.crc32(f"{key_id}_{secret}".encode())
    digits = ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def hash_secret(secret: str, pepper: bytes) -> bytes:
    """What is stored of a secret: useless to whoever reads the table without the pepper."""
    return hmac.digest(pepper, b"key:" + secret.encode(), "sha256")


def create_key(
    engine: sa.Engine, pepper: bytes, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> str:
    """A new key's text, which is shown this once; ValueError for a scope that means nothing."""
    unknown = [scope for scope in scopes if not SCOPE_TEXT.fullmatch(scope)]
    if unknown or not scopes:
        raise ValueError(f"{', '.join(unknown) or 'no scope'}: scopes look like nyc-flights:read or ops:read")
    key_id = draw(ID_CHARACTERS)
    secret = draw(SECRET_CHARACTERS)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(ApiKey).values(
                id=key_id,
                name=name,
                secret_hash=hash_secret(secret, pepper),
                scopes=list(scopes),
                expires_at=expires_at,
            )
        )
    return f"dcnt_{key_id}_{secret}{checksum(key_id, secret)}"


def draw(length: int) -> str:
    """Random characters."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
