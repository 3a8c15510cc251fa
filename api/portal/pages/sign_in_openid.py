"""Signing in at an issuer: the way there, and the way back. Both are plain links, so that no form leads elsewhere."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.auth.openid import Attempt, SignInFailedError, begin, finish, seal, unseal
from api.auth.sessions import Visitor
from api.context import context_of
from api.http.addresses import origin_of
from api.http.problems import Problem
from api.http.security_events import note_event
from api.portal.asking import Asking
from api.portal.content import Elsewhere
from api.portal.guard import FOUND, HEADERS, SEE_OTHER, identify_visitor, lead
from api.portal.page import answer_once
from api.portal.pages.sign_in import issuers_of, show_form
from api.portal.signing_in.cookie import SessionCookie, attempt_cookie
from api.portal.signing_in.form import local_path
from runtime.settings.secret import read_secret
from runtime.settings.token_issuers import TokenIssuer

# One for each issuer: what comes back from one is never shown to another (RFC 9700, 4.4).
CALLBACK = "/sign-in/callback/{number}"
TEXT_MAXIMUM = 4_000  # characters of a code, or of what an issuer says


async def get_way_there(request: Request) -> Response:
    """Leads to the issuer; the attempt is kept in a cookie of its own until the visitor comes back."""
    visitor = await identify_visitor(request)
    context, cookie = context_of(request), attempt_cookie(request)
    if cookie is None:
        raise Problem("not_found")
    back = local_path(request.query_params.get("next", "/"))
    again = request.query_params.get("again") == "1"
    verifier = context.callers.authenticator.verifier
    try:
        url, attempt = await begin(verifier, issuer_of(request), redirect_uri(request), back, again=again)
    except SignInFailedError as error:
        return refuse(request, visitor, str(error))
    response = RedirectResponse(url, FOUND, HEADERS | {"Cache-Control": "no-store"})
    cookie.write(response, seal(attempt, read_secret(context.settings)))
    return response


async def get_way_back(request: Request) -> Response:
    """Opens the session of whoever the issuer says came back, where this browser has begun the attempt."""
    visitor = await identify_visitor(request)
    context, cookie = context_of(request), attempt_cookie(request)
    if cookie is None:
        raise Problem("not_found")
    callers, issuer = context.callers, issuer_of(request)
    try:
        attempt = find_attempt(request, issuer, cookie)
        code = request.query_params["code"]
        principal = await finish(callers.authenticator, attempt, code, redirect_uri(request))
    except SignInFailedError as error:
        note_event("sign_in_refused", reason=type(error).__name__)
        return refuse(request, visitor, str(error))
    if visitor.session is not None:
        await callers.sessions.end(visitor.session)
    opened = await callers.sessions.open(principal)
    response = lead(request, Elsewhere(attempt.back, opened=opened), SEE_OTHER)
    cookie.clear(response)
    return response


def issuer_of(request: Request) -> TokenIssuer:
    """The issuer that an address names by its number; `not_found` where there is none."""
    number = request.path_params["number"]
    issuers = issuers_of(context_of(request).settings)
    if not number.isdecimal() or len(number) > 3 or not 1 <= int(number) <= len(issuers):
        raise Problem("not_found")
    return issuers[int(number) - 1]


def find_attempt(request: Request, issuer: TokenIssuer, cookie: SessionCookie) -> Attempt:
    """The attempt that an address comes back from; SignInFailedError for one of another browser, or a refused one."""
    query = request.query_params
    attempt = unseal(cookie.read(request) or "", read_secret(context_of(request).settings))
    named = {issuer.issuer, query.get("iss", issuer.issuer)}
    if attempt is None or query.get("state") != attempt.state or named != {attempt.issuer}:
        raise SignInFailedError("This sign-in was not begun in this browser, or took too long: try again.")
    if not 0 < len(query.get("code", "")) <= TEXT_MAXIMUM:
        raise SignInFailedError("The issuer did not let you in.")
    return attempt


def refuse(request: Request, visitor: Visitor, message: str) -> Response:
    """The sign-in page, which says what was wrong."""
    asking = Asking(request, visitor)
    return answer_once(request, asking, show_form(asking, "/", problem=Problem("unauthorized", message)))


def redirect_uri(request: Request) -> str:
    """Where the issuer leads back to."""
    return origin_of(request) + CALLBACK.format(number=request.path_params["number"])
