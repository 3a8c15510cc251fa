"""Signing in with an API key, and out."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from api.auth.api_keys import KEY_PREFIX
from api.http.problems import Problem
from api.portal.action import Action
from api.portal.asking import Asking
from api.portal.content import Content, Elsewhere
from api.portal.page import Page
from api.portal.signing_in.cookie import session_cookie
from api.portal.signing_in.form import Form, local_path
from api.portal.signing_in.issuers import issuers_of

WRONG = "This key is not valid here: it is mistyped, expired or revoked."


async def build_sign_in(asking: Asking) -> Content:
    """The form; who has signed in already is led on, unless asked to do it again."""
    query = asking.request.query_params
    back = local_path(query.get("next", "/"))
    again = query.get("again") == "1"
    if asking.visitor.session is not None and not again:
        raise Elsewhere(back)
    return show_form(asking, back, again=again)


def show_form(asking: Asking, back: str, *, again: bool = False, problem: Problem | None = None) -> Content:
    """The form, with what was wrong with the last attempt."""
    values = {
        "back": back,
        "again": again and asking.visitor.session is not None,
        "error": problem.detail if problem else "",
        "possible": session_cookie(asking.request) is not None,
        "issuers": [issuer.name or urlsplit(issuer.issuer).netloc for issuer in issuers_of(asking.context.settings)],
    }
    return Content("sign_in.html", "Sign in", values, problem=problem, is_kept=False, indexed=False)


async def sign_in(asking: Asking, form: Form) -> Content:
    """Opens a session for the holder of a key; a wrong key is counted and logged as on every request."""
    request, back = asking.request, local_path(form.get("next"))
    if session_cookie(request) is None:
        return show_form(asking, back)
    key = form.get("key")
    if not key.startswith(KEY_PREFIX):
        detail = f"Enter an API key: it begins with {KEY_PREFIX}"
        return show_form(asking, back, problem=Problem("unauthorized", detail, reason="malformed"))
    callers = asking.context.callers
    try:
        principal = await callers.identify(request.scope, {"x-api-key": key})
    except Problem as problem:
        if problem.code != "unauthorized":
            raise
        wrong = Problem("unauthorized", WRONG, reason=problem.reason)
        return show_form(asking, back, problem=wrong)
    if asking.visitor.session is not None:
        await callers.sessions.end(asking.visitor.session)
    raise Elsewhere(back, opened=await callers.sessions.open(principal, datetime.now(UTC)))


async def sign_out(asking: Asking, _form: Form) -> Content:
    """Ends the session."""
    if asking.visitor.session is not None:
        await asking.context.callers.sessions.end(asking.visitor.session)
    raise Elsewhere("/", ends_session=True)


SIGN_IN = Page("portal sign-in", "/sign-in", build_sign_in)
DO_SIGN_IN = Action("portal sign-in form", "/sign-in", sign_in, needs_session=False)
DO_SIGN_OUT = Action("portal sign-out", "/sign-out", sign_out)
