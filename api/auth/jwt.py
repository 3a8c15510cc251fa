"""JWT access tokens of configured issuers -> verified claims (RFC 9068)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import httpx
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel

from api.auth.endpoints import Endpoints
from api.auth.jwks import IssuerKeys, SigningKey
from api.auth.jwt_parsing import (
    ID_TOKEN_TYPES,
    IdClaims,
    InvalidTokenError,
    TokenClaims,
    UnverifiedToken,
    read_claims,
    read_id_claims,
    read_token,
)
from runtime.settings.token_issuers import TokenIssuer
from runtime.trusted_roots import trust_context

__all__ = ["TokenClaims", "TokenVerifier"]

TOKEN_BYTES = 8 * 1024  # a token is shorter
REMEMBERED_SECONDS = 60.0
REMEMBERED_TOKENS = 10_000


@dataclass(frozen=True)
class Remembered:
    """A token that was verified with a key, and until when that is believed (of the steady clock)."""

    claims: TokenClaims
    key: SigningKey
    until: float


class TokenVerifier:
    """Tells what tokens of some issuers may do. It belongs to one event loop."""

    def __init__(
        self,
        issuers: Iterable[TokenIssuer],
        *,
        wall: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuers = {issuer.issuer: issuer for issuer in issuers}
        self.wall = wall
        self.ticks = ticks
        # Each issuer has connections of its own: one that is slow keeps nobody from the others.
        self.clients = {
            name: httpx.AsyncClient(follow_redirects=False, verify=trust_context()) for name in self.issuers
        }
        self.keys = {name: IssuerKeys(issuer, self.clients[name], ticks) for name, issuer in self.issuers.items()}
        self.endpoints = {name: Endpoints(name, self.clients[name], ticks) for name in self.issuers}
        self.remembered: OrderedDict[bytes, Remembered] = OrderedDict()

    async def verify(self, text: str) -> TokenClaims | None:
        """What a token claims, or None where it is not valid, whatever is wrong with it.

        `unavailable` where it looks valid but the keys of its issuer are not to be had.
        """
        if len(text) >= TOKEN_BYTES or not text.isascii():
            return None
        digest = hashlib.sha256(text.encode()).digest()
        known = self.find_remembered(digest)
        # Looked at before every use: a key that its issuer took back takes along what it signed.
        if known is not None and known.key in (await self.keys[known.claims.issuer].current()).keys:
            return known.claims
        try:
            token = read_token(text)
            claims = self.read_claims(token)
        except InvalidTokenError:
            return None
        for key in await self.keys[claims.issuer].find(token.kid, token.algorithm):
            if is_signed(text, key, token.algorithm):
                self.remember(digest, claims, key)
                return claims
        return None

    async def verify_id_token(self, text: str, issuer: TokenIssuer, nonce: str) -> IdClaims | None:
        """The claims of an ID token for the portal, or None where it is not valid (OpenID Connect Core, 3.1.3.7)."""
        if len(text) >= TOKEN_BYTES or not text.isascii():
            return None
        try:
            token = read_token(text, ID_TOKEN_TYPES)
            found = read_id_claims(token.payload, issuer, self.wall())
        except InvalidTokenError:
            return None
        if token.algorithm not in issuer.algorithms or not hmac.compare_digest(found.nonce.encode(), nonce.encode()):
            return None
        keys = await self.keys[issuer.issuer].find(token.kid, token.algorithm)
        return found if any(is_signed(text, key, token.algorithm) for key in keys) else None

    def remembers(self, text: str) -> bool:
        """Whether a token was verified a moment ago, or is refused without looking at it."""
        if len(text) >= TOKEN_BYTES or not text.isascii():
            return True
        return self.find_remembered(hashlib.sha256(text.encode()).digest()) is not None

    def read_claims(self, token: UnverifiedToken) -> TokenClaims:
        """What the token claims, if only it is signed: nothing is fetched for one that would be refused anyway."""
        name = token.payload.get("iss")
        issuer = self.issuers.get(name) if isinstance(name, str) else None
        if issuer is None or token.algorithm not in issuer.algorithms:
            raise InvalidTokenError
        return read_claims(token.payload, issuer, self.wall())

    def find_remembered(self, digest: bytes) -> Remembered | None:
        """What is known of a token that was seen a moment ago, and has not expired since."""
        known = self.remembered.get(digest)
        if known is None:
            return None
        if self.ticks() >= known.until or self.wall() >= known.claims.expires_at:
            del self.remembered[digest]
            return None
        self.remembered.move_to_end(digest)
        return known

    def remember(self, digest: bytes, claims: TokenClaims, key: SigningKey) -> None:
        """Keeps a verified token in mind; those unused the longest are forgotten."""
        self.remembered[digest] = Remembered(claims, key, self.ticks() + REMEMBERED_SECONDS)
        self.remembered.move_to_end(digest)
        while len(self.remembered) > REMEMBERED_TOKENS:
            self.remembered.popitem(last=False)

    async def close(self) -> None:
        """Ends what is being fetched, and all connections."""
        await asyncio.gather(*(keys.close() for keys in self.keys.values()))
        await asyncio.gather(*(client.aclose() for client in self.clients.values()))


class Registry(jws.JWSRegistry):
    """One algorithm, already chosen; headers of any size and name, since the text was measured and read before."""

    max_header_length = max_payload_length = max_signature_length = TOKEN_BYTES

    def get_alg(self, name: str) -> JWSAlgModel:
        """The algorithm, if it is the one; without a warning of what the operator allowed."""
        if not self.allowed or name not in self.allowed:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


def is_signed(text: str, key: SigningKey, algorithm: str) -> bool:
    """Whether the token was signed with this key. Claims are not looked at here."""
    registry = Registry(algorithms=(algorithm,), strict_check_header=False)
    try:
        jws.deserialize_compact(text, key.key, registry=registry)
    except (JoseError, ValueError):
        return False
    return True
