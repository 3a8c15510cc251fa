"""Parses the text of an access token into unverified claims; pure and strict (RFC 8725, RFC 9068)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple, NoReturn

from catalog.model.roles import OPERATOR_SCOPES
from runtime.json_types import Json, JsonObject
from runtime.settings.token_issuers import TokenIssuer

LEEWAY_SECONDS = 60.0  # how far the clocks of issuers may be ahead of ours
SUBJECT_CHARACTERS = 255
LATEST_TIMESTAMP = 253_402_300_799  # the last second of the year 9999
COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")
ID_TOKEN_TYPES = ("jwt", None)


class InvalidTokenError(ValueError):
    """The text is no access token that is taken here."""


@dataclass(frozen=True)
class TokenClaims:
    """Who a token speaks for, and what it may do, until when (seconds since 1970)."""

    issuer: str
    subject: str
    scopes: frozenset[str]
    expires_at: float


class IdClaims(NamedTuple):
    """Who an ID token speaks of, and the attempt to sign in that it was made for."""

    subject: str
    nonce: str
    signed_in_at: float | None  # when the issuer last made sure of that


@dataclass(frozen=True)
class UnverifiedToken:
    """What a token says of itself. Anybody can have written it."""

    algorithm: str
    kid: str | None
    payload: JsonObject


def read_token(text: str, types: Collection[str | None] = ACCESS_TOKEN_TYPES) -> UnverifiedToken:
    """What a compact JWS of a sensible length says, its signature unseen; InvalidTokenError where it says too little.

    Keys that it brings along or points at (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
    """
    match = COMPACT.fullmatch(text)
    if match is None:
        raise InvalidTokenError
    try:
        header, payload = (read_object(decode_base64url(match[index])) for index in (1, 2))
    except ValueError:
        raise InvalidTokenError from None
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if "crit" in header or not isinstance(algorithm, str):
        raise InvalidTokenError
    kind = kind.lower() if isinstance(kind, str) else kind
    if kind not in types or not isinstance(kid, str | None):
        raise InvalidTokenError
    return UnverifiedToken(algorithm, kid, payload)


def read_claims(payload: JsonObject, issuer: TokenIssuer, now: float) -> TokenClaims:
    """The claims of a token in the name of this issuer; InvalidTokenError where they do not hold here and now."""
    audience, subject, scope = payload.get("aud"), payload.get("sub"), payload.get("scope", "")
    audiences = audience if isinstance(audience, list) else [audience]
    if issuer.audience not in audiences or not all(isinstance(name, str) for name in audiences):
        raise InvalidTokenError
    if not isinstance(scope, str):
        raise InvalidTokenError
    # A subject ends up in logs, rows and headers: no line breaks, NULs or halves of characters.
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARACTERS or not subject.isprintable():
        raise InvalidTokenError
    expires_at = read_timestamp(payload, "exp")
    if expires_at is None or expires_at <= now:
        raise InvalidTokenError
    issued_at = read_timestamp(payload, "iat")
    begins = now if issued_at is None else min(now, issued_at)
    if expires_at - begins > issuer.longest_life_seconds + LEEWAY_SECONDS:
        raise InvalidTokenError
    for name in ("nbf", "iat"):
        timestamp = read_timestamp(payload, name)
        if timestamp is not None and timestamp > now + LEEWAY_SECONDS:
            raise InvalidTokenError
    return TokenClaims(issuer.issuer, subject, grant_scopes(scope.split(" "), issuer.grants), expires_at)


def read_id_claims(payload: JsonObject, issuer: TokenIssuer, now: float) -> IdClaims:
    """The claims of an ID token that is meant for the portal; InvalidTokenError where it is not, or has expired."""
    audience, subject, nonce = payload.get("aud"), payload.get("sub"), payload.get("nonce")
    audiences = audience if isinstance(audience, list) else [audience]
    # Of several audiences, each could have had the token made: the authorized party is the one that did.
    party = payload.get("azp", issuer.portal_client_id if len(audiences) == 1 else None)
    expires_at = read_timestamp(payload, "exp")
    if payload.get("iss") != issuer.issuer or issuer.portal_client_id not in audiences:
        raise InvalidTokenError
    if party != issuer.portal_client_id or expires_at is None or expires_at <= now:
        raise InvalidTokenError
    if not isinstance(subject, str) or not isinstance(nonce, str):
        raise InvalidTokenError
    return IdClaims(subject, nonce, read_timestamp(payload, "auth_time"))


def grant_scopes(scopes: Iterable[str], grants: Sequence[str]) -> frozenset[str]:
    """Those of the scopes that the issuer may grant. An operator's scope has to be named, no pattern gives it."""
    return frozenset(
        scope
        for scope in scopes
        if scope in grants or (scope not in OPERATOR_SCOPES and any(fnmatchcase(scope, grant) for grant in grants))
    ) - {""}


def read_timestamp(payload: JsonObject, name: str) -> float | None:
    """The moment that a claim names, in seconds since 1970; None where there is no such claim."""
    if name not in payload:
        return None
    value = payload[name]
    # A bool is an int; infinity, as of 1e999, is past the latest moment.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_TIMESTAMP:
        raise InvalidTokenError
    return float(value)


def decode_base64url(text: str) -> bytes:
    """The bytes of base64url without padding; ValueError for any text but the one that these bytes have."""
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=") != text.encode():
        raise ValueError("no base64url")
    return content


def read_object(content: bytes) -> JsonObject:
    """The JSON object in UTF-8; ValueError for any other, and where a name in it comes twice."""
    try:
        value = json.loads(content.decode(), object_pairs_hook=take_members, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("JSON is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def take_members(pairs: list[tuple[str, Json]]) -> JsonObject:
    """The members of an object. Of two with one name, another reader may take the other."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("duplicate member name")
    return members


def refuse_constant(name: str) -> NoReturn:
    """Refuses NaN and Infinity, which are no JSON: no moment is later than NaN."""
    raise ValueError(f"{name} is not JSON")
