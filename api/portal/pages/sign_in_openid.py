"""Signing in at an issuer: the way there, and the way back. Both are plain links, so that no form leads elsewhere."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.auth.openid import Attempt, SignInFailedError, Wish, begin, finish, seal, unseal
from api.auth.sessions import Visitor
from api.context import context_of
from api.http.addresses import origin_of
from api.http.problems import Problem
from api.http.security_events import note_event
from api.portal.asking import Asking
from api.portal.content import Elsewhere
from api.portal.guard import FOUND, HEADERS, SEE_OTHER, identify_visitor, lead
from api.portal.page import answer_once
from api.portal.pages.sign_in import show_form
from api.portal.signing_in.cookie import SessionCookie, attempt_cookie
from api.portal.signing_in.form import local_path
from api.portal.signing_in.issuers import issuers_of
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
    wish = read_wish(request, visitor)
    verifier = context.callers.authenticator.verifier
    try:
        url, attempt = await begin(verifier, issuer_of(request), redirect_uri(request), wish)
    except SignInFailedError as error:
        if wish.renews is not None:
            return await go_on_without(request, visitor, wish.back)
        return await refuse(request, visitor, str(error), wish.back)
    response = RedirectResponse(url, FOUND, HEADERS | {"Cache-Control": "no-store"})
    cookie.write(response, seal(attempt, read_secret(context.settings)))
    return response


async def get_way_back(request: Request) -> Response:
    """Opens the session of whoever the issuer says came back, where this browser has begun the attempt."""
    visitor = await identify_visitor(request)
    context, cookie = context_of(request), attempt_cookie(request)
    if cookie is None:
        raise Problem("not_found")
    callers, issuer, attempt = context.callers, issuer_of(request), None
    try:
        attempt = find_attempt(request, issuer, cookie)
        signed_in = await finish(callers.authenticator, attempt, read_code(request), redirect_uri(request))
    except SignInFailedError as error:
        if attempt is not None and attempt.renews is not None:
            response = await go_on_without(request, visitor, attempt.back)
            cookie.clear(response)
            return response
        note_event("sign_in_refused", reason=type(error).__name__)
        return await refuse(request, visitor, str(error), attempt.back if attempt is not None else "/")
    if visitor.session is not None:
        await callers.sessions.end(visitor.session)
    opened = await callers.sessions.open(*signed_in)
    response = lead(request, Elsewhere(attempt.back, opened=opened), SEE_OTHER)
    cookie.clear(response)
    return response


async def go_on_without(request: Request, visitor: Visitor, back: str) -> Response:
    """Leads to the page whose session the issuer did not renew: it says so, and asks the issuer no second time."""
    if visitor.past is not None:
        await context_of(request).callers.sessions.end(visitor.past, "unknown")
    return lead(request, Elsewhere(back), SEE_OTHER)


def read_wish(request: Request, visitor: Visitor) -> Wish:
    """How the visitor wants to be signed in; a session is renewed where it came to its end."""
    query, past = request.query_params, visitor.past
    is_renewed = query.get("renew") == "1" and past is not None and past.ended == "age"
    subject = past.claims.subject if is_renewed and past is not None and past.claims is not None else None
    return Wish(local_path(query.get("next", "/")), query.get("again") == "1", subject)


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
    return attempt


def read_code(request: Request) -> str:
    """The code that an address brings; SignInFailedError for one without."""
    code = request.query_params.get("code", "")
    if not 0 < len(code) <= TEXT_MAXIMUM:
        raise SignInFailedError("The issuer did not let you in.")
    return code


async def refuse(request: Request, visitor: Visitor, message: str, back: str = "/") -> Response:
    """The sign-in page, which says what was wrong."""
    asking = Asking(request, visitor)
    return await answer_once(request, asking, show_form(asking, back, problem=Problem("unauthorized", message)))


def redirect_uri(request: Request) -> str:
    """Where the issuer leads back to."""
    return origin_of(request) + CALLBACK.format(number=request.path_params["number"])
