"""Signing in at an issuer: the authorization code flow with PKCE, run by the service (OpenID Connect, RFC 7636).

The code is exchanged here, and no token leaves the service or is kept: the access token has to be one that the API
takes, and its verified claims make the principal.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from api.auth.authenticator import Authenticator, Principal
from api.auth.jwks import FETCH_SECONDS, fetch
from api.auth.jwt import TokenVerifier
from api.auth.jwt_parsing import LEEWAY_SECONDS, read_object
from runtime.logs import log
from runtime.settings.token_issuers import TokenIssuer

ATTEMPT_SECONDS = 600
SEAL = {"alg": "HS256"}
LOG = logging.getLogger("decant.security")


class SignInFailedError(Exception):
    """The issuer, or what came from it, gives no principal; the message says so to the visitor."""


class Wish(NamedTuple):
    """How a visitor is to be signed in, and where that leads."""

    back: str
    again: bool = False  # whether they have to show the issuer who they are, whatever session they have there
    renews: str | None = None  # the subject whose session came to its end: without a click, and nobody else


class Attempt(NamedTuple):
    """One attempt to sign in: what has to come back, and where it leads."""

    issuer: str
    state: str
    nonce: str
    code_verifier: str
    back: str
    expires_at: float
    again: bool = False
    renews: str | None = None


def seal(attempt: Attempt, secret: bytes) -> str:
    """An attempt as text that nobody else can make."""
    return jwt.encode(SEAL, attempt._asdict(), OctKey.import_key(sealing_key(secret)))


def unseal(text: str, secret: bytes) -> Attempt | None:
    """The attempt that a text seals; None for any other text, and for one that took too long."""
    try:
        claims: dict[str, Any] = jwt.decode(text, OctKey.import_key(sealing_key(secret)), [SEAL["alg"]]).claims
        attempt = Attempt(**claims)
    except (JoseError, ValueError, TypeError):
        return None
    return attempt if attempt.expires_at > time.time() else None


def sealing_key(secret: bytes) -> bytes:
    """A key for this purpose alone."""
    return hashlib.sha256(b"sign-in:" + secret).digest()


async def begin(verifier: TokenVerifier, issuer: TokenIssuer, redirect_uri: str, wish: Wish) -> tuple[str, Attempt]:
    """Where a browser goes, and the attempt that it comes back with; SignInFailedError where the issuer is down."""
    state, nonce, code_verifier = (secrets.token_urlsafe(32) for _ in range(3))
    until = time.time() + ATTEMPT_SECONDS
    attempt = Attempt(issuer.issuer, state, nonce, code_verifier, wish.back, until, wish.again, wish.renews)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).decode().rstrip("=")
    url = issuer.authorization_url or await look_up(verifier, issuer, "authorization_endpoint")
    query = {
        "response_type": "code",
        "client_id": issuer.portal_client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(dict.fromkeys(("openid", *issuer.scopes))),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if wish.again:
        query |= {"prompt": "login", "max_age": "0"}
    elif wish.renews is not None:
        query["prompt"] = "none"
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}", attempt


async def finish(authenticator: Authenticator, attempt: Attempt, code: str, redirect_uri: str) -> SignedIn:
    """Who a code stands for; SignInFailedError where it stands for none."""
    verifier = authenticator.verifier
    issuer = verifier.issuers.get(attempt.issuer)
    if issuer is None:
        raise SignInFailedError("This issuer is no longer configured here.")
    tokens = await exchange(verifier, issuer, attempt, code, redirect_uri)
    identity = await verifier.verify_id_token(tokens.id_token, issuer, attempt.nonce)
    if identity is None:
        raise SignInFailedError("The issuer's ID token is not valid for this sign-in.")
    if attempt.renews not in {None, identity.subject}:
        raise SignInFailedError("You are signed in at the issuer as somebody else: sign in to go on as that.")
    if attempt.again and (identity.signed_in_at or 0) < attempt.expires_at - ATTEMPT_SECONDS - LEEWAY_SECONDS:
        raise SignInFailedError("The issuer did not ask you to sign in again.")
    claims = await verifier.verify(tokens.access_token)
    if claims is None or (claims.issuer, claims.subject) != (issuer.issuer, identity.subject):
        raise SignInFailedError("The issuer's access token is not one that the API of this service accepts.")
    shown_at = None
    if identity.signed_in_at is not None:
        shown_at = datetime.fromtimestamp(min(max(identity.signed_in_at, 0), time.time()), UTC)
    return SignedIn(authenticator.find_subject(claims.issuer, claims.subject, claims.scopes), shown_at)


class SignedIn(NamedTuple):
    """Who came back from an issuer."""

    principal: Principal
    shown_at: datetime | None  # when they showed the issuer who they are, as far as it says so


class Tokens(NamedTuple):
    """What a code was exchanged for."""

    access_token: str
    id_token: str


async def exchange(
    verifier: TokenVerifier, issuer: TokenIssuer, attempt: Attempt, code: str, redirect_uri: str
) -> Tokens:
    """The tokens that a code stands for."""
    url = issuer.token_url or await look_up(verifier, issuer, "token_endpoint")
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": attempt.code_verifier,
    }
    login = None
    if issuer.portal_client_secret is not None:
        # Both are encoded before they are put together (RFC 6749, 2.3.1).
        parts = (issuer.portal_client_id, issuer.portal_client_secret.get_secret_value())
        login = (quote(parts[0], safe=""), quote(parts[1], safe=""))
    else:
        form["client_id"] = issuer.portal_client_id
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            content, _ = await fetch(verifier.clients[issuer.issuer], url, form, login)
        answer = read_object(content)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise failed(issuer, error, "The issuer did not accept the sign-in.") from error
    access_token, id_token = answer.get("access_token"), answer.get("id_token")
    if not isinstance(access_token, str) or not isinstance(id_token, str):
        raise SignInFailedError("The issuer's answer lacks an access token or an ID token.")
    return Tokens(access_token, id_token)


async def look_up(verifier: TokenVerifier, issuer: TokenIssuer, member: str) -> str:
    """An address of the issuer's metadata."""
    try:
        return await verifier.endpoints[issuer.issuer].find(member)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise failed(issuer, error, "The issuer is temporarily unavailable.") from error


def failed(issuer: TokenIssuer, error: Exception, message: str) -> SignInFailedError:
    """What the visitor is told; the log has the reason."""
    reason = str(error) or type(error).__name__
    log(LOG, "sign_in_failed", logging.WARNING, issuer=issuer.issuer, reason=reason)
    return SignInFailedError(message)
