"""The visitor's own account: scopes in words, limits, usage, rotation of the key."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from api.auth.identify import STANDING, Standing
from api.http.problems import Problem
from api.portal.action import Action, sign_in_path
from api.portal.asking import Asking
from api.portal.content import Content, Elsewhere
from api.portal.page import Page
from api.portal.pages.scopes import explain_scopes
from api.portal.signing_in.form import Form
from api.portal.usage_sums import sum_days, sum_places, sum_refusals
from runtime.errors import DatabaseError
from runtime.json_types import JsonObject

DAYS = 30
OVERLAPS = (
    (0, "at once"),
    (3_600, "in an hour"),
    (86_400, "in a day"),
    (7 * 86_400, "in a week"),
    (30 * 86_400, "in 30 days"),
)


async def build_account(asking: Asking) -> Content:
    """The page; who has not signed in does it first."""
    if asking.principal.id is None:
        raise Elsewhere(sign_in_path("/account"))
    first = (datetime.now(UTC) - timedelta(days=DAYS - 1)).date().isoformat()
    own, usage = await asyncio.gather(asking.get("/keys/self"), asking.get("/keys/self/usage", ("from", first)))
    session = asking.visitor.session
    sessions = asking.context.callers.sessions
    standing: Standing | None = asking.request.scope.get(STANDING)
    values = {
        "own": own.data,
        "is_key": not asking.principal.is_token,
        "scopes": explain_scopes(own.data["scopes"], asking.context.catalog),
        "standing": standing,
        "days": sum_days(usage.data),
        "places": sum_places(usage.data),
        "refusals": sum_refusals(usage.data),
        "overlaps": OVERLAPS,
        "session": session,
        "sessions": await sessions.list_open(session, asking.principal) if session is not None else [],
    }
    return Content("account.html", "Your account", values, is_kept=False, indexed=False, alternate="/keys/self")


async def rotate_own_key(asking: Asking, form: Form) -> Content:
    """The new key, shown this once; the session goes on with it."""
    if form.get("key") != asking.principal.id:
        raise Problem("key_not_active", "This key was rotated already: a page that is reloaded does not do it again.")
    had_end = (await asking.get("/keys/self")).data["expires_at"] is not None
    key = await rotate(asking, form, "/keys/self/rotate")
    if asking.visitor.session is not None:
        with suppress(DatabaseError):  # the key is shown in any case: it is not made twice
            await asking.context.callers.sessions.move(asking.visitor.session, str(key["id"]))
    return show_key("Your new key", key | {"had_end": had_end}, form, "/account")


async def end_others(asking: Asking, _form: Form) -> Content:
    """Ends the visitor's other sessions."""
    if asking.visitor.session is not None:
        await asking.context.callers.sessions.end_others(asking.visitor.session, asking.principal)
    raise Elsewhere("/account")


async def rotate(asking: Asking, form: Form, path: str) -> JsonObject:
    """The key that takes the place of another; what the form says of the overlap, the API judges."""
    asked = form.get("overlap")
    known = {str(seconds): seconds for seconds, _ in OVERLAPS}
    reply = await asking.post(path, {"overlap_seconds": known.get(asked, asked)})
    rotated: JsonObject = reply.data
    return rotated


def show_key(title: str, key: JsonObject, form: Form, back: str) -> Content:
    """The text of a key, this once, and when the one before it ends."""
    ends = next((text for seconds, text in OVERLAPS if str(seconds) == form.get("overlap")), None)
    values = {
        "key": key,
        "ends": ends,
        "back": back,
        "is_limited": bool(key["expires_at"]) and not key.get("had_end", True),
    }
    return Content("new_key.html", title, values, is_kept=False, indexed=False)


ACCOUNT = Page("portal account", "/account", build_account)
END_OTHERS = Action("portal other sessions ended", "/account/sessions", end_others)
ROTATE_OWN = Action("portal key rotation", "/account/rotate", rotate_own_key, needs_fresh=True)
