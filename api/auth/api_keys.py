"""API keys: `dcnt_<id>_<secret><checksum>`. Only a keyed hash of the secret is ever stored.

The checksum lets a mistyped key be refused without asking the database.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.roles import OPERATOR_SCOPES
from catalog.storage.access_tables import ApiKey
from runtime.settings.secret import read_secret
from runtime.settings.settings import Settings

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_PREFIX = "dcnt_"
ID_CHARACTERS = 12
SECRET_CHARACTERS = 32  # 190 random bits
CHECKSUM_CHARACTERS = 6
HASH_BYTES = 32  # of SHA-256
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


@dataclass(frozen=True)
class Peppers:
    """What secrets are hashed with, by version; new keys take the newest."""

    versions: tuple[tuple[int, bytes], ...]

    @property
    def current(self) -> int:
        """The newest version."""
        return max(version for version, _ in self.versions)

    def of(self, version: int) -> bytes | None:
        """The pepper of a version, None where it is no longer known: its keys are no longer valid."""
        return dict(self.versions).get(version)


def read_peppers(settings: Settings) -> Peppers:
    """The peppers of the settings: the service's secret is version 1."""
    more = ((version, derive(text.get_secret_value())) for version, text in settings.peppers.items())
    return Peppers(((1, read_secret(settings)), *more))


def derive(text: str) -> bytes:
    """The pepper that a setting is."""
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class KeyDraft:
    """A key that is about to be made."""

    name: str
    scopes: tuple[str, ...]
    expires_at: datetime | None = None
    rate_limit: str | None = None
    created_by: str | None = None
    line: str | None = None  # the first key of those that took each other's place


def draft_row(draft: KeyDraft, peppers: Peppers, nonce: str | None = None) -> tuple[str, dict[str, object]]:
    """The text of a new key, which is shown this once, and the row that is kept of it.

    With a nonce the same key can be made again as long as somebody remembers that: for requests that are repeated.
    """
    version = peppers.current
    pepper = peppers.of(version) or b""
    key_id = generate(ID_CHARACTERS) if nonce is None else format_key(pepper, f"id:{nonce}", ID_CHARACTERS)
    secret = (
        generate(SECRET_CHARACTERS) if nonce is None else format_key(pepper, f"secret:{nonce}", SECRET_CHARACTERS)
    )
    row = {
        "id": key_id,
        "name": draft.name,
        "secret_hash": hash_secret(secret, pepper),
        "pepper_version": version,
        "scopes": list(draft.scopes),
        "expires_at": draft.expires_at,
        "rate_limit": draft.rate_limit,
        "created_by": draft.created_by,
        "line": draft.line,
    }
    return f"{KEY_PREFIX}{key_id}_{secret}{checksum(key_id, secret)}", row


def format_key(pepper: bytes, word: str, length: int) -> str:
    """As many characters, from a keyed digest of a word: as good as random to whoever lacks the pepper."""
    number = int.from_bytes(hmac.digest(pepper, word.encode(), "sha512"))
    characters = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return "".join(characters)


def create_key(
    engine: sa.Engine,
    pepper: bytes,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    created_by: str | None = None,
) -> str:
    """A new key's text, which is shown this once; ValueError for a scope that means nothing."""
    check_scopes(scopes)
    text, row = draft_row(KeyDraft(name, tuple(scopes), expires_at, created_by=created_by), Peppers(((1, pepper),)))
    with engine.begin() as connection:
        connection.execute(sa.insert(ApiKey).values(row))
    return text


def check_scopes(scopes: Sequence[str]) -> None:
    """ValueError for a scope that means nothing anywhere, or for none at all."""
    unknown = [scope for scope in scopes if not SCOPE_TEXT.fullmatch(scope)]
    if unknown or not scopes:
        raise ValueError(
            f"{', '.join(unknown) or 'no scope'}: invalid scope; scopes are of the form nyc-flights:read or ops:read"
        )


def known_scopes(catalog: Catalog) -> list[str]:
    """Every scope that means something here."""
    scopes = list(OPERATOR_SCOPES)
    for product in catalog.products.values():
        scopes += [role.scope for role in product.roles]
        scopes += [f"{product.id}:read:confidential", f"{product.id}:read:restricted"]
    return list(dict.fromkeys(scopes))


def generate(length: int) -> str:
    """Random characters."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
