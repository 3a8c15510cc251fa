"""JWKS of token issuers: fetched, parsed, cached, with a bounded fetch rate."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field

import httpx
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from api.auth.jwt_parsing import decode_base64url, read_object
from api.http.problems import Problem
from runtime.json_types import Json
from runtime.logs import log
from runtime.settings.token_issuers import TokenIssuer
from runtime.settings.values import check_address

FETCH_SECONDS = 5.0  # for all requests of one fetch together
FETCH_BYTES = 256 * 1024
FRESH_SECONDS = 600.0  # how long keys are used where Cache-Control does not say
FRESH_LEAST, FRESH_MOST = 60.0, 3600.0  # seconds, whatever it says
FLOOR_SECONDS = 30.0  # between two fetches, failed ones included
STALE_SECONDS = 24 * 3600.0  # how old keys may get while their issuer is down
RSA_BITS = range(2048, 8192 + 1)
CANDIDATES = 4  # keys that one token may be tried with
PUBLIC_MEMBERS = ("kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y")
MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)

LOG = logging.getLogger("decant.tokens")


class UnusableAnswerError(ValueError):
    """An issuer answered something that is not what was asked for."""


@dataclass(frozen=True)
class SigningKey:
    """A public key, and the algorithms that it may verify. Two are one where material and purpose are."""

    kid: str | None
    thumbprint: str
    algorithms: frozenset[str]
    key: Key = field(compare=False, repr=False)


@dataclass(frozen=True)
class FetchedKeys:
    """What an issuer published, and when; moments are those of a steady clock."""

    keys: frozenset[SigningKey]
    fetched_at: float
    fresh_until: float

    def find(self, kid: str | None, algorithm: str) -> list[SigningKey]:
        """The keys that can have signed such a token. One that names no key is tried with all that fit."""
        fitting = (key for key in self.keys if algorithm in key.algorithms and kid in (None, key.kid))
        return sorted(fitting, key=lambda key: key.thumbprint)[:CANDIDATES]


class IssuerKeys:
    """The keys of one issuer, fetched when they are needed; once for all who wait."""

    def __init__(self, issuer: TokenIssuer, client: httpx.AsyncClient, ticks: Callable[[], float]) -> None:
        self.issuer = issuer
        self.client = client
        self.ticks = ticks
        self.fetched: FetchedKeys | None = None
        self.tried_at = -math.inf
        self.down = False  # whether the last fetch failed
        self.fetching: asyncio.Task[None] | None = None

    async def current(self) -> FetchedKeys:
        """The keys of now; `unavailable` where there are none, or only too old ones, and they cannot be fetched."""
        fetched = self.usable()
        if fetched is None or self.ticks() >= fetched.fresh_until:
            # While an issuer is down its old keys go on being used, and nobody waits for it.
            await self.refresh(patient=fetched is None or not self.down)
            fetched = self.usable()
        if fetched is None:
            wait = max(1, math.ceil(self.tried_at + FLOOR_SECONDS - self.ticks()))
            detail = "The issuer of the token is temporarily unavailable: retry."
            raise Problem("unavailable", detail, headers={"Retry-After": str(wait)})
        return fetched

    def usable(self) -> FetchedKeys | None:
        """What was fetched last, unless it is too old to be used at all."""
        recent = self.fetched is not None and self.ticks() - self.fetched.fetched_at < STALE_SECONDS
        return self.fetched if recent else None

    async def find(self, kid: str | None, algorithm: str) -> list[SigningKey]:
        """The keys that can have signed such a token; fetched anew where none is known, as after a rotation."""
        if found := (await self.current()).find(kid, algorithm):
            return found
        await self.refresh()
        return (await self.current()).find(kid, algorithm)

    async def refresh(self, *, patient: bool = True) -> None:
        """Has the keys fetched, unless they just were; waits for them if `patient`."""
        if self.fetching is None or self.fetching.done():
            if self.ticks() - self.tried_at < FLOOR_SECONDS:
                return
            self.tried_at = self.ticks()
            self.fetching = asyncio.create_task(self.fetch())
        if patient:
            # The fetch is everybody's: it goes on if the one who waits leaves.
            await asyncio.shield(self.fetching)

    async def fetch(self) -> None:
        """Fetches the keys; where that fails, those of before stay."""
        started = self.ticks()
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys, fresh_seconds = await fetch_keys(self.client, self.issuer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            log(LOG, "issuer_keys_not_fetched", logging.WARNING, issuer=self.issuer.issuer, reason=reason)
            self.down = True
            return
        self.fetched = FetchedKeys(keys, started, started + fresh_seconds)
        self.down = False

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        if self.fetching is not None:
            self.fetching.cancel()
            await asyncio.gather(self.fetching, return_exceptions=True)


async def fetch_keys(client: httpx.AsyncClient, issuer: TokenIssuer) -> tuple[frozenset[SigningKey], float]:
    """The keys that an issuer publishes, and for how many seconds they may be used."""
    url = issuer.jwks_url or await find_endpoint(client, issuer.issuer, "jwks_uri")
    content, headers = await fetch(client, url)
    return read_keys(content, issuer.algorithms), read_fresh_seconds(headers.get("cache-control", ""))


async def find_endpoint(client: httpx.AsyncClient, issuer: str, member: str) -> str:
    """An address that an issuer's metadata has, such as `jwks_uri`."""
    content, _ = await fetch(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    return read_metadata(content, issuer, member)


def read_metadata(content: bytes, issuer: str, member: str) -> str:
    """The address in an issuer's metadata (OpenID Connect Discovery); no less encrypted than the issuer itself."""
    metadata = read_object(content)
    url = metadata.get(member)
    if metadata.get("issuer") != issuer or not isinstance(url, str):
        raise UnusableAnswerError(f"the metadata name another issuer, or have no {member}")
    if not check_address(url).lower().startswith("https://") and issuer.lower().startswith("https://"):
        raise UnusableAnswerError(f"{member} does not use https")
    return url


async def fetch(
    client: httpx.AsyncClient, url: str, form: dict[str, str] | None = None, login: tuple[str, str] | None = None
) -> tuple[bytes, httpx.Headers]:
    """The body of an answer that is 200 and not too large, with its headers; a form is posted, with a login."""
    asked = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}
    request = client.build_request(
        "GET" if form is None else "POST", url, headers=asked, data=form, timeout=FETCH_SECONDS
    )
    sending = client.send(request, auth=login, stream=True, follow_redirects=False)
    async with aclosing(await sending) as answer:
        if answer.status_code != 200:
            raise UnusableAnswerError(f"status {answer.status_code}")
        content = bytearray()
        # Raw: what is packed though nobody asked for that is no JSON, and cannot swell.
        async for chunk in answer.aiter_raw():
            content += chunk
            if len(content) > FETCH_BYTES:
                raise UnusableAnswerError(f"longer than {FETCH_BYTES} bytes")
        return bytes(content), answer.headers


def read_fresh_seconds(cache_control: str) -> float:
    """For how many seconds an answer may be used, within what is sensible for keys."""
    match = MAX_AGE.search(cache_control)
    return min(max(float(match[1]), FRESH_LEAST), FRESH_MOST) if match else FRESH_SECONDS


def read_keys(content: bytes, algorithms: Collection[str]) -> frozenset[SigningKey]:
    """The usable keys of a JSON Web Key Set; those of other kinds and purposes are left out (RFC 7517, 5)."""
    members = read_object(content).get("keys")
    if not isinstance(members, list):
        raise UnusableAnswerError("not a key set")
    return frozenset(filter(None, (read_key(member, algorithms) for member in members)))


def read_key(member: Json, algorithms: Collection[str]) -> SigningKey | None:
    """The key, where it may verify one of the algorithms; None for others, and where the private half is public."""
    if not isinstance(member, dict) or "d" in member:
        return None
    if not isinstance(member.get("key_ops", []), list):
        return None
    try:
        if member["kty"] == "RSA" and int.from_bytes(decode_base64url(member["n"])).bit_length() not in RSA_BITS:
            return None
        key = JWKRegistry.import_key({name: member[name] for name in PUBLIC_MEMBERS if name in member})
        thumbprint = key.thumbprint()
    except Exception:  # whatever a library makes of a strange key, the others of its set still count
        return None
    fitting = frozenset(name for name in algorithms if fits(key, name))
    return SigningKey(key.kid, thumbprint, fitting, key) if fitting else None


def fits(key: Key, algorithm: str) -> bool:
    """Whether a key may verify signatures of this algorithm: its type, curve, `use`, `key_ops` and `alg`."""
    try:
        jws.JWSRegistry.algorithms[algorithm].check_key(key)
        key.check_key_op("verify")
    except JoseError:
        return False
    return key.key_type != "OKP" or key.get("crv") in ("Ed25519", "Ed448")
