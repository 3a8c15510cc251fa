"""Credentials -> Principal. What a principal may see is decided in `api/auth/permissions.py`."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from api.auth.api_keys import HASH_BYTES, KEY_PREFIX, Peppers, hash_secret, parse_key
from api.auth.jwt import TokenVerifier
from api.auth.jwt_parsing import grant_scopes
from api.auth.recent_lookups import RecentLookups, run_statement
from api.http.problems import Problem
from runtime.postgres.poolers import ConnectionPool

SUBJECTS_MAXIMUM = 10_000
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="decant"'}

FIND_KEYS = (
    "SELECT id, secret_hash, scopes, expires_at, rate_limit, pepper_version, coalesce(line, id),"
    " revoked_at IS NOT NULL FROM decant.api_keys WHERE id = ANY(%s)"
)


@dataclass(frozen=True)
class Principal:
    """Who is calling: `id` is None for anonymous."""

    id: str | None = None  # of the key, or subject and issuer of the token
    scopes: frozenset[str] = frozenset()
    rate_limit: str | None = None  # the key's own, such as 600/minute
    is_token: bool = False
    line: str | None = None  # of a key: the first of those that took each other's place
    issuer: str | None = None  # of a token, as is
    subject: str | None = None
    # Schema of a product -> what the principal may see of it; kept, since every request asks.
    cache: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def client(self) -> str | None:
        """Who is calling, whatever key they have by now."""
        return self.line or self.id


@dataclass(frozen=True)
class StoredKey:
    """What the database says of a key."""

    secret_hash: bytes
    principal: Principal
    expires_at: datetime | None
    pepper_version: int
    is_revoked: bool = False

    def is_over(self) -> bool:
        """Whether the key is revoked or expired."""
        now = datetime.now(UTC)  # always, so that the same is done for every key
        is_expired = self.expires_at is not None and self.expires_at <= now
        return self.is_revoked or is_expired


class Authenticator:
    """Turns credentials into principals; keys are looked up once in a few seconds, not once a request.

    They are looked up on the write login, so in the primary: a revocation is not to wait for a replica.
    """

    def __init__(self, pool: ConnectionPool, peppers: Peppers, verifier: TokenVerifier) -> None:
        self.pool = pool
        self.verifier = verifier
        self.peppers = peppers
        self.anonymous = Principal()
        # What a key is compared with where there is none of its id.
        self.nobody = StoredKey(bytes(HASH_BYTES), self.anonymous, None, peppers.current)
        self.keys = RecentLookups(self.look_up_one)
        self.subjects: OrderedDict[tuple[str, str, frozenset[str]], Principal] = OrderedDict()

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """The principal of a request; `unauthorized` for any credential that is not valid, without saying why."""
        text = read_credential(headers)
        if text is None:
            return self.anonymous
        if not text.startswith(KEY_PREFIX) and self.verifier.issuers:
            return await self.authenticate_token(text)
        checked = await self.verify_key(text)
        if isinstance(checked, str):
            raise refuse(sent=True, reason=checked)
        return checked

    def must_look_up(self, headers: Mapping[str, str]) -> bool:
        """Whether to judge the credential of a request takes the database, an issuer or a signature."""
        try:
            text = read_credential(headers)
        except Problem:
            return False
        if text is None:
            return False
        if not text.startswith(KEY_PREFIX) and self.verifier.issuers:
            return not self.verifier.remembers(text)
        parsed = parse_key(text)
        return parsed is not None and not self.keys.remembers(parsed.id)

    async def verify_key(self, text: str) -> Principal | str:
        """The principal of a key; for one that is not valid, what is wrong with it, which only the log may tell.

        Whatever is wrong with a well-formed key, the same is done: the time that it takes tells nobody what it was.
        """
        parsed = parse_key(text)
        stored = (await self.keys.find(parsed.id) if parsed else None) or self.nobody
        pepper = self.peppers.of(stored.pepper_version)
        offered = hash_secret(parsed.secret if parsed else "", pepper or b"")
        is_same = hmac.compare_digest(offered, stored.secret_hash)
        is_over = stored.is_over()
        if parsed is None:
            return "malformed"
        if stored is self.nobody:
            return "unknown"
        if not is_same or pepper is None:
            return "wrong_secret"
        if is_over:
            return "revoked" if stored.is_revoked else "expired"
        return stored.principal

    async def authenticate_token(self, text: str) -> Principal:
        """The principal of an access token; kept, so that what it may see is found once."""
        claims = await self.verifier.verify(text)
        if claims is None:
            raise refuse(sent=True, reason="token")
        return self.find_subject(claims.issuer, claims.subject, claims.scopes)

    def find_subject(self, issuer: str, subject: str, scopes: frozenset[str]) -> Principal:
        """The principal that the claims of a token describe, always the same for the same claims."""
        cache_key = (issuer, subject, scopes)
        principal = self.subjects.get(cache_key)
        if principal is None:
            principal = self.subjects[cache_key] = Principal(
                f"token:{subject}@{issuer}", scopes, is_token=True, issuer=issuer, subject=subject
            )
            while len(self.subjects) > SUBJECTS_MAXIMUM:
                self.subjects.popitem(last=False)
        return principal

    async def judge_key(self, key_id: str) -> Principal | None:
        """The principal of a key whose secret was shown before; None where the key is no longer valid."""
        stored = await self.keys.find(key_id)
        return stored.principal if stored is not None and not stored.is_over() else None

    def longest_life(self, principal: Principal, most: timedelta) -> timedelta:
        """How long a session of a principal lasts: of an issuer's, until the issuer is to be asked again."""
        known = self.verifier.issuers.get(principal.issuer or "")
        if known is None:
            return most
        return min(most, timedelta(seconds=min(known.portal_session_seconds, known.longest_life_seconds)))

    def judge_claims(self, issuer: str, subject: str, scopes: Iterable[str]) -> Principal | None:
        """The principal of claims that were verified before, with what the issuer may grant now."""
        known = self.verifier.issuers.get(issuer)
        return self.find_subject(issuer, subject, grant_scopes(scopes, known.grants)) if known else None

    async def look_up_one(self, key_id: str) -> StoredKey | None:
        """The key with this id, from the database."""
        return (await self.look_up([key_id]))[key_id]

    async def look_up(self, key_ids: Collection[str]) -> dict[str, StoredKey | None]:
        """The keys with these ids as the database has them now, from one statement."""
        found: dict[str, StoredKey | None] = dict.fromkeys(key_ids)
        rows = await run_statement(self.pool, FIND_KEYS, (list(key_ids),))
        for key_id, secret_hash, scopes, expires_at, rate_limit, pepper_version, line, is_revoked in rows:
            principal = Principal(key_id, frozenset(scopes), rate_limit, line=line)
            found[key_id] = StoredKey(secret_hash, principal, expires_at, pepper_version, is_revoked)
        self.keys.keep(found)
        return found


def read_credential(headers: Mapping[str, str]) -> str | None:
    """The key or token that a request carries, or None where it carries none."""
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer" or not value.strip():
            raise refuse(sent=True, reason="malformed")
        return value.strip()
    return headers.get("x-api-key")


def has_credential(headers: Mapping[str, str]) -> bool:
    """Whether a request carries a credential in a header, valid or not."""
    return "authorization" in headers or "x-api-key" in headers


def refuse(*, sent: bool, reason: str | None = None) -> Problem:
    """The one answer to every bad credential; `error=` only where one was sent (RFC 6750). The log has the reason."""
    headers = {"WWW-Authenticate": CHALLENGE["WWW-Authenticate"] + (', error="invalid_token"' if sent else "")}
    return Problem("unauthorized", headers=headers, reason=reason)
