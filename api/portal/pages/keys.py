"""All API keys, for administrators: listed, made, rotated, revoked."""

from __future__ import annotations

from urllib.parse import urlsplit

from api.admin.key_store import STATES
from api.auth.api_keys import known_scopes
from api.http.problems import Problem
from api.portal.action import Action
from api.portal.asking import Asking, Parameters
from api.portal.content import Content, Elsewhere
from api.portal.page import Page
from api.portal.pages.account import OVERLAPS, rotate, show_key
from api.portal.pages.scopes import explain_scopes
from api.portal.signing_in.form import Form
from runtime.json_types import JsonObject

KEYS_SHOWN = 50
TITLE = "A new key"
REVOKE_PATH = "/account/keys/{key_id}/revoke"


async def build_keys(asking: Asking) -> Content:
    """The page."""
    query = asking.request.query_params
    state = query.get("state", "active")
    parameters: Parameters = [("state", state), ("limit", str(KEYS_SHOWN))]
    if before := query.get("before"):
        parameters.append(("before", before))
    reply = await asking.get("/keys", *parameters)
    behind = reply.value["next"]
    catalog = asking.context.catalog
    values = {
        "keys": reply.data,
        "next": f"/account/keys?{urlsplit(behind).query}" if behind else None,
        "state": state,
        "states": STATES,
        "scopes": explain_scopes(known_scopes(catalog), catalog),
        "overlaps": OVERLAPS,
    }
    return Content("keys.html", "API keys", values, is_kept=False, indexed=False, alternate="/keys")


async def make_key(asking: Asking, form: Form) -> Content:
    """The new key, shown this once."""
    if not form.all("scope"):
        raise Problem("invalid_value", "Tick at least one scope.")
    document: JsonObject = {"name": form.get("name"), "scopes": form.all("scope")}
    if day := form.get("expires"):
        document["expires_at"] = f"{day}T00:00:00Z"
    if rate := form.get("rate"):
        document["rate_limit"] = rate
    reply = await asking.post("/keys", document, form.get("once"))
    return show_key(TITLE, reply.data, form, "/account/keys")


async def rotate_key(asking: Asking, form: Form) -> Content:
    """The key that takes the place of another, shown this once."""
    if asking.request.path_params["key_id"] == "self":
        raise Problem("not_found")  # one's own is rotated on the account's page
    key = await rotate(asking, form, asking.fill("/keys/{key_id}/rotate"))
    return show_key(TITLE, key, form, "/account/keys")


async def revoke_key(asking: Asking, _form: Form) -> Content:
    """Revokes a key and what took its place."""
    await asking.delete(asking.fill("/keys/{key_id}"))
    raise Elsewhere("/account/keys?state=revoked")


KEYS = Page("portal keys", "/account/keys", build_keys)
MAKE_KEY = Action("portal key made", "/account/keys", make_key, needs_fresh=True)
ROTATE_KEY = Action("portal key rotated", "/account/keys/{key_id}/rotate", rotate_key, needs_fresh=True)
REVOKE_KEY = Action("portal key revoked", REVOKE_PATH, revoke_key, needs_fresh=True)
