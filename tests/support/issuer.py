"""An issuer of access tokens on this machine: real keys, real signatures, a real server that counts who asks it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from api.auth import jwt as tokens
from api.auth.jwt import TokenClaims, TokenVerifier
from runtime.settings.token_issuers import TokenIssuer
from tests.support.remote_api import Asked, RemoteApi, Reply, run_remote_api

AUDIENCE = "https://data.example"
NOW = 1_800_000_000.0
JWKS = "/keys"
METADATA = "/.well-known/openid-configuration"
KINDS = {
    "RS256": "RSA",
    "PS256": "RSA",
    "ES256": "EC",
    "EdDSA": "OKP",
    "Ed25519": "OKP",
    "HS256": "oct",
    "RS512": "RSA",
}


@cache
def make_key(kind: str, number: int = 0) -> Key:
    """A private key; the same one for the same number, since those of RSA take long to make."""
    if kind == "RSA":
        return RSAKey.generate_key(2048)
    if kind == "EC":
        return ECKey.generate_key("P-256")
    return OKPKey.generate_key("Ed25519") if kind == "OKP" else OctKey.generate_key(256)


def public_jwk(key: Key, **members: Any) -> dict[str, Any]:
    """A public key as key sets hold it."""
    return key.as_dict(private=False) | {"use": "sig"} | members


def encode(part: Any) -> bytes:
    """A part of a token: bytes as they are, anything else as JSON."""
    return urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode())


def sign(header: Any, payload: Any, key: Key, algorithm: str) -> str:
    """A compact JWS, whatever its header says."""
    text = encode(header) + b"." + encode(payload)
    return (text + b"." + urlsafe_b64encode(JWSRegistry.algorithms[algorithm].sign(text, key))).decode()


@dataclass
class Clock:
    """The time, which passes only when it is told to."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Issuer:
    """A running issuer. What it publishes are its `keys`; `api` can be told to answer something else."""

    api: RemoteApi
    keys: dict[str, Key] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    published: list[Any] = field(default_factory=list)

    def rotate(self, **kinds: Key) -> None:
        """Publishes these keys, by their ids, and no others."""
        self.keys = kinds
        self.published = [public_jwk(key, kid=kid) for kid, key in kinds.items()]

    def answer(self, asked: Asked) -> Reply:
        """What it answers as long as it is well."""
        if asked.path == METADATA:
            return Reply({"issuer": self.api.url, "jwks_uri": self.api.url + JWKS})
        return Reply({"keys": self.published}, headers=self.headers) if asked.path == JWKS else Reply(status=404)

    @property
    def fetches(self) -> int:
        """How often its keys were asked for."""
        return sum(asked.path == JWKS for asked in self.api.asked)

    def settings(self, **changes: Any) -> TokenIssuer:
        """How a service is told of it."""
        told: dict[str, Any] = {"issuer": self.api.url, "audience": AUDIENCE, "jwks_url": self.api.url + JWKS}
        told["longest_life_seconds"] = 10**9  # tests let days pass
        return TokenIssuer(**(told | changes))

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a token says for ten minutes; a change to None takes the claim away."""
        claims = {"iss": self.api.url, "aud": AUDIENCE, "sub": "ann", "exp": NOW + 600, "iat": NOW, "scope": "a:read"}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def header(self, kid: str = "one", **changes: Any) -> dict[str, Any]:
        """The header of a token; a change to None takes the member away."""
        header = {"alg": "RS256", "typ": "at+jwt", "kid": kid}
        return {name: value for name, value in (header | changes).items() if value is not None}

    def token(self, kid: str = "one", key: Key | None = None, header: Any = None, **claims: Any) -> str:
        """A token that is signed with a key of its own, or with the given one."""
        told = self.header(kid) | (header or {})
        return sign(self.header(**told), self.claims(**claims), key or self.keys[kid], told["alg"])


@contextmanager
def run_issuer() -> Iterator[Issuer]:
    """An issuer with the RSA key `one`, until the block ends."""
    with run_remote_api() as api:
        issuer = Issuer(api)
        issuer.rotate(one=make_key("RSA"))
        api.answer = issuer.answer
        yield issuer


@dataclass
class Bench:
    """A verifier beside its issuer, on a clock that stands still, in an event loop of its own."""

    issuer: Issuer
    verifier: TokenVerifier
    clock: Clock
    runner: asyncio.Runner

    def verify(self, text: str) -> TokenClaims | None:
        """What the verifier says of one token."""
        return self.runner.run(self.verifier.verify(text))

    def verify_all(self, *texts: str) -> list[TokenClaims | BaseException | None]:
        """What it says of many that come at once."""

        async def run() -> list[TokenClaims | BaseException | None]:
            return await asyncio.gather(*map(self.verifier.verify, texts), return_exceptions=True)

        return self.runner.run(run())


@contextmanager
def run_bench(issuer: Issuer, *told: TokenIssuer) -> Iterator[Bench]:
    """A verifier of an issuer's tokens, until the block ends."""
    clock = Clock()
    with asyncio.Runner() as runner:
        verifier = TokenVerifier(told or (issuer.settings(),), wall=clock, ticks=clock)
        yield Bench(issuer, verifier, clock, runner)
        runner.run(verifier.close())


def count_signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signature is checked from now on."""
    checked: list[str] = []
    original = tokens.is_signed

    def counted(text: str, *rest: Any) -> bool:
        checked.append(text)
        return original(text, *rest)

    monkeypatch.setattr(tokens, "is_signed", counted)
    return checked
