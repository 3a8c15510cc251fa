"""Sign-ins to the portal, kept on the write login.

The cookie holds 256 random bits, and the database their digest: neither holds a credential. Whoever signed in is
judged again as API requests are, so that a revoked key ends its sessions, and an issuer's tokens never gain a scope.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from psycopg.types.json import Jsonb

from api.auth.authenticator import Authenticator, Principal
from api.auth.recent_lookups import RecentLookups, run_statement
from api.auth.session_store import END, END_OTHERS, FIND, LIST, LONGEST, MOVE, OPEN
from runtime.logs import log
from runtime.postgres.poolers import ConnectionPool

TOKEN_BYTES = 32
TOKEN_CHARACTERS = 43  # of them in base64url
FRESH = timedelta(minutes=10)  # how long after a sign-in an action that asks for one may be taken
LOG = logging.getLogger("decant.security")


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
    shown_at: datetime | None  # when whoever signed in showed who they are; an issuer may not have asked for that
    ended: str | None = None  # why it is over

    @property
    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self.ended is not None or self.expires_at <= datetime.now(UTC)

    @property
    def is_fresh(self) -> bool:
        """Whether a credential was shown a moment ago: some actions ask for that."""
        return self.shown_at is not None and datetime.now(UTC) - self.shown_at < FRESH


@dataclass(frozen=True)
class Visitor:
    """Who asks for a page, and the session that says so, if it is one; or the one that did, and is over."""

    principal: Principal
    session: Session | None = None
    past: Session | None = None


class ListedSession(NamedTuple):
    """One open session of a client, as it is shown."""

    is_own: bool  # of the visitor who looks at the list
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


class Sessions:
    """Opens, finds and ends sessions; each is looked up once in a few seconds, not once a request."""

    def __init__(self, pool: ConnectionPool, authenticator: Authenticator) -> None:
        self.pool = pool
        self.authenticator = authenticator
        self.recent = RecentLookups(self.look_up)

    async def open(self, principal: Principal, shown_at: datetime | None) -> str:
        """The cookie's text of a new session of a principal, and when who it is was shown."""
        token = secrets.token_bytes(TOKEN_BYTES)
        claims = claims_of(principal)
        row: dict[str, object] = {
            "token_sha256": hashlib.sha256(token).digest(),
            "client": principal.client,
            "key_id": None if principal.is_token else principal.id,
            "claims": Jsonb(claims._asdict()) if claims is not None else None,
            "shown_at": shown_at,
            "expires_at": datetime.now(UTC) + self.authenticator.longest_life(principal, LONGEST),
        }
        await run_statement(self.pool, OPEN, row)
        log(LOG, "signed_in", principal=principal.id)
        return base64.urlsafe_b64encode(token).decode().rstrip("=")

    async def find(self, text: str) -> Visitor:
        """Who a cookie's text belongs to; nobody where the session, the key or the issuer has ended."""
        nobody = Visitor(self.authenticator.anonymous)
        digest = digest_of(text)
        session = await self.recent.find(digest) if digest is not None else None
        if digest is not None and session is not None and session.is_over:
            # Another process may know more: an issuer that was asked in vain is not asked again.
            self.recent.forget(digest)
            session = await self.recent.find(digest)
        if digest is None or session is None:
            return nobody
        if session.is_over:
            return replace(nobody, past=replace(session, ended=session.ended or "age"))
        principal = await self.judge(session)
        if principal is None:
            # Another process may have moved the session to the key that took the place of its own.
            self.recent.forget(digest)
            moved = await self.recent.find(digest)
            if moved is not None and moved != session and not moved.is_over:
                session, principal = moved, await self.judge(moved)
        if principal is None:
            return replace(nobody, past=replace(session, ended="credential"))
        return Visitor(principal, session)

    async def judge(self, session: Session) -> Principal | None:
        """The principal of a session, by what is known of its key or issuer now."""
        if session.key_id is not None:
            return await self.authenticator.judge_key(session.key_id)
        return self.authenticator.judge_claims(*session.claims) if session.claims is not None else None

    def remembers(self, text: str) -> bool:
        """Whether a cookie's text was looked up a moment ago, or needs no looking up."""
        digest = digest_of(text)
        return digest is None or self.recent.remembers(digest)

    async def end(self, session: Session, why: str = "signed_out") -> None:
        """Ends a session; in other processes within 5 s."""
        await run_statement(self.pool, END, (why, session.token_sha256))
        self.recent.forget(session.token_sha256)

    async def list_open(self, session: Session, principal: Principal) -> list[ListedSession]:
        """The open sessions of a session's client, the newest first."""
        rows = await run_statement(self.pool, LIST, (session.token_sha256, principal.client))
        return [ListedSession(*row) for row in rows]

    async def end_others(self, session: Session, principal: Principal) -> None:
        """Ends the other sessions of a session's client; in other processes within 5 s."""
        rows = await run_statement(self.pool, END_OTHERS, (principal.client, session.token_sha256))
        for (digest,) in rows:
            self.recent.forget(digest)
        log(LOG, "sessions_ended", principal=principal.id, sessions=len(rows))

    async def move(self, session: Session, key_id: str) -> None:
        """Lets a session go on with the key that took the place of its own."""
        await run_statement(self.pool, MOVE, (key_id, session.token_sha256))
        self.recent.forget(session.token_sha256)

    async def look_up(self, digest: bytes) -> Session | None:
        """The session with this digest, from the database."""
        rows = await run_statement(self.pool, FIND, (digest,))
        if not rows:
            return None
        key_id, claims, *times = rows[0]
        return Session(digest, key_id, TokenClaims(**claims) if claims is not None else None, *times)


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
