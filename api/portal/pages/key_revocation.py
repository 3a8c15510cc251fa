"""What a revocation ends, before it is confirmed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from api.http.problems import Problem
from api.portal.asking import Asking
from api.portal.content import Content, Elsewhere
from api.portal.page import Page
from api.portal.pages.keys import REVOKE_PATH
from api.portal.usage_sums import sum_places

DAYS = 30
PLACES_SHOWN = 10


async def build_revocation(asking: Asking) -> Content:
    """The key, what it was used for lately, and the form that revokes it."""
    if asking.request.path_params["key_id"] == "self":
        raise Problem("not_found")
    key: dict[str, Any] = (await asking.get(asking.fill("/keys/{key_id}"))).data
    if key["state"] != "active":
        raise Elsewhere(f"/account/keys?state={key['state']}")
    used: list[dict[str, Any]] | None = None
    if "ops:read" in asking.principal.scopes:
        first = (datetime.now(UTC) - timedelta(days=DAYS - 1)).date().isoformat()
        usage = await asking.get("/operations/usage", ("principal", key["id"]), ("from", first))
        used = sum_places(usage.data)
    values = {
        "key": key,
        "used": used[:PLACES_SHOWN] if used is not None else None,
        "requests": sum(place["requests"] for place in used) if used is not None else 0,
        "is_own": key["id"] == asking.principal.id,
    }
    title = f"Revoke {key['name']}"
    return Content("key_revocation.html", title, values, is_kept=False, indexed=False)


REVOCATION = Page("portal key revocation", REVOKE_PATH, build_revocation)
