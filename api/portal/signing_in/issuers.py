"""The issuers at which visitors sign in, and the way there for a session that came to its end."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import Request

from api.auth.sessions import Visitor
from api.http.addresses import asked_address
from api.portal.signing_in.cookie import session_cookie
from runtime.settings.settings import Settings
from runtime.settings.token_issuers import TokenIssuer

WAY_THERE = "/sign-in/with/{number}"


def issuers_of(settings: Settings) -> list[TokenIssuer]:
    """The issuers at which visitors can sign in, in the order of the settings."""
    return [issuer for issuer in settings.token_issuers if issuer.portal_client_id]


def renewal_path(request: Request, visitor: Visitor) -> str | None:
    """Where an issuer is asked whether it still knows a visitor, without a click; None where that is not to be asked.

    It is asked for a session that came to its end in use. Scripts cannot follow to another host, and are not led.
    """
    past = visitor.past
    if past is None or past.ended != "age" or past.claims is None:
        return None
    if request.method != "GET" or request.headers.get("sec-fetch-mode") != "navigate":
        return None
    names = [issuer.issuer for issuer in issuers_of(request.app.state.settings)]
    if past.claims.issuer not in names or session_cookie(request) is None:
        return None
    number = names.index(past.claims.issuer) + 1
    return f"{WAY_THERE.format(number=number)}?{urlencode({'next': asked_address(request), 'renew': '1'})}"
