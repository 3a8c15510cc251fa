"""Sign-ins to the portal, kept on the write login.

The cookie holds 256 random bits, and the database their digest: neither holds a credential. Whoever signed in is
judged again as API requests are, so that a revoked key ends its sessions, and an issuer's tokens never gain a scope.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from psycopg.types.json import Jsonb

from api.auth.authenticator import Authenticator, Principal
from api.auth.recent_lookups import RecentLookups, fetch_one
from runtime.logs import log
from runtime.postgres.database import translate_error
from runtime.postgres.poolers import ConnectionPool

TOKEN_BYTES = 32
TOKEN_CHARACTERS = 43  # of them in base64url
LONGEST = timedelta(hours=24)
FRESH = timedelta(minutes=10)  # how long after a sign-in an action that asks for one may be taken
LOG = logging.getLogger("decant.security")

# The time of the last request is written once a minute, and a session ends 8 hours after it.
FIND = """
WITH found AS (
  SELECT * FROM decant.sessions
  WHERE token_sha256 = %s AND expires_at > now() AND seen_at > now() - interval '8 hours'
), seen AS (
  UPDATE decant.sessions AS s SET seen_at = now() FROM found
  WHERE s.token_sha256 = found.token_sha256 AND found.seen_at < now() - interval '1 minute'
)
SELECT key_id, claims, created_at, expires_at, visited_at FROM found
"""
# Ended sessions are kept a month for the time of the last visit; and of one client no more than 50.
OPEN = """
WITH old AS (
  DELETE FROM decant.sessions
  WHERE expires_at < now() - interval '30 days' OR token_sha256 IN (
    SELECT token_sha256 FROM decant.sessions WHERE client = %(client)s ORDER BY seen_at DESC OFFSET 50)
)
INSERT INTO decant.sessions (token_sha256, client, key_id, claims, expires_at, visited_at)
SELECT %(token_sha256)s, %(client)s, %(key_id)s, %(claims)s, %(expires_at)s,
  (SELECT max(seen_at) FROM decant.sessions WHERE client = %(client)s)
"""
END = "UPDATE decant.sessions SET expires_at = now() WHERE token_sha256 = %s AND expires_at > now()"
MOVE = "UPDATE decant.sessions SET key_id = %s WHERE token_sha256 = %s"


class TokenClaims(NamedTuple):
    """What was verified of an access token, as it is kept."""

    issuer: str
    subject: str
    scopes: list[str]


@dataclass(frozen=True)
class Session:
    """One sign-in, as the database has it."""

    token_sha256: bytes
    key_id: str | None
    claims: TokenClaims | None
    created_at: datetime
    expires_at: datetime
    visited_at: datetime | None  # when the same client was seen last in an earlier session

    @property
    def is_fresh(self) -> bool:
        """Whether the sign-in was a moment ago: some actions ask for that."""
        return datetime.now(UTC) - self.created_at < FRESH


@dataclass(frozen=True)
class Visitor:
    """Who asks for a page, and the session that says so, if it is one."""

    principal: Principal
    session: Session | None = None


class Sessions:
    """Opens, finds and ends sessions; each is looked up once in a few seconds, not once a request."""

    def __init__(self, pool: ConnectionPool, authenticator: Authenticator) -> None:
        self.pool = pool
        self.authenticator = authenticator
        self.recent = RecentLookups(self.look_up)

    async def open(self, principal: Principal) -> str:
        """The cookie's text of a new session of a principal that has just shown a credential."""
        token = secrets.token_bytes(TOKEN_BYTES)
        claims = claims_of(principal)
        row: dict[str, object] = {
            "token_sha256": hashlib.sha256(token).digest(),
            "client": principal.client,
            "key_id": None if principal.is_token else principal.id,
            "claims": Jsonb(claims._asdict()) if claims is not None else None,
            "expires_at": datetime.now(UTC) + self.authenticator.longest_life(principal, LONGEST),
        }
        await self.execute(OPEN, row)
        log(LOG, "signed_in", principal=principal.id)
        return base64.urlsafe_b64encode(token).decode().rstrip("=")

    async def find(self, text: str) -> Visitor | None:
        """Who a cookie's text belongs to; None where the session, the key or the issuer has ended."""
        digest = digest_of(text)
        if digest is None:
            return None
        session = await self.recent.find(digest)
        if session is None or session.expires_at <= datetime.now(UTC):
            return None
        principal = await self.judge(session)
        if principal is None:
            # Another process may have moved the session to the key that took the place of its own.
            self.recent.forget(digest)
            moved = await self.recent.find(digest)
            if moved is None or moved == session:
                return None
            session, principal = moved, await self.judge(moved)
        return Visitor(principal, session) if principal is not None else None

    async def judge(self, session: Session) -> Principal | None:
        """The principal of a session, by what is known of its key or issuer now."""
        if session.key_id is not None:
            return await self.authenticator.judge_key(session.key_id)
        return self.authenticator.judge_claims(*session.claims) if session.claims is not None else None

    def remembers(self, text: str) -> bool:
        """Whether a cookie's text was looked up a moment ago, or needs no looking up."""
        digest = digest_of(text)
        return digest is None or self.recent.remembers(digest)

    async def end(self, session: Session) -> None:
        """Ends a session; in other processes within 5 s."""
        await self.execute(END, (session.token_sha256,))
        self.recent.forget(session.token_sha256)

    async def move(self, session: Session, key_id: str) -> None:
        """Lets a session go on with the key that took the place of its own."""
        await self.execute(MOVE, (key_id, session.token_sha256))
        self.recent.forget(session.token_sha256)

    async def look_up(self, digest: bytes) -> Session | None:
        """The session with this digest, from the database."""
        row = await fetch_one(self.pool, FIND, digest)
        if row is None:
            return None
        key_id, claims, *times = row
        return Session(digest, key_id, TokenClaims(**claims) if claims is not None else None, *times)

    async def execute(self, statement: str, values: dict[str, object] | tuple[object, ...]) -> None:
        """Runs a statement that returns nothing."""
        try:
            async with self.pool.connection() as connection:
                await connection.execute(statement.encode(), values)
        except Exception as error:
            raise translate_error(error) from error


def digest_of(text: str) -> bytes | None:
    """The digest of what a cookie holds; None for what is no text of ours."""
    if len(text) != TOKEN_CHARACTERS or not text.isascii():
        return None
    try:
        token = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except ValueError:
        return None
    return hashlib.sha256(token).digest() if len(token) == TOKEN_BYTES else None


def claims_of(principal: Principal) -> TokenClaims | None:
    """What is kept of a token's principal; None where a key was shown."""
    if principal.issuer is None or principal.subject is None:
        return None
    return TokenClaims(principal.issuer, principal.subject, sorted(principal.scopes))
