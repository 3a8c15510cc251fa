"""Who asked for what, and who did what: usage and the audit log."""

from __future__ import annotations

import re

from api.portal.asking import Asking
from api.portal.console.paging import chosen, next_path
from api.portal.content import Content
from api.portal.page import Page
from api.portal.usage_sums import sum_days, sum_places, sum_principals, sum_refusals

ENTRIES_SHOWN = 100
DEEDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"POST /operations/loads", "asked for a load"),
        (r"POST /operations/loads/[0-9]+/publish|publish anyway", "published a withheld load anyway"),
        (r"POST /operations/replays|replay", "replayed rejected records"),
        (r"POST /operations/dismissals", "asked to dismiss rejected records"),
        (r"dismiss", "dismissed rejected records"),
        (r"POST /operations/erasures", "asked to erase a key of a dataset"),
        (r"erase", "erased a key of a dataset"),
        (r"POST /keys|keys create", "made an API key"),
        (r"POST /keys/rotate|keys rotate", "rotated an API key"),
        (r"DELETE /keys|keys revoke", "revoked an API key"),
    )
)


async def build_usage(asking: Asking) -> Content:
    """Usage of all callers, or of one."""
    wanted = chosen(asking, ("principal", "from", "to"))
    rows = (await asking.get("/operations/usage", *wanted.items())).data
    values = {
        "principals": sum_principals(rows),
        "names": await name_keys(asking),
        "days": sum_days(rows),
        "places": sum_places(rows)[:50],
        "refusals": sum_refusals(rows),
        "wanted": wanted,
    }
    return Content("console_usage.html", "Usage", values, is_kept=False, indexed=False, alternate="/operations/usage")


async def build_audit(asking: Asking) -> Content:
    """The audit log, the newest first."""
    wanted = chosen(asking, ("principal", "operation", "before"))
    reply = await asking.get("/operations/audit", *wanted.items(), ("limit", str(ENTRIES_SHOWN)))
    values = {
        "entries": [entry | {"words": words_of(entry["operation"])} for entry in reply.data],
        "names": await name_keys(asking),
        "next": next_path(reply, "/console/audit"),
        "wanted": wanted,
    }
    title = "Audit log"
    return Content("console_audit.html", title, values, is_kept=False, indexed=False, alternate="/operations/audit")


def words_of(operation: str) -> str:
    """What was done, in words; of an operation that is not known, nothing."""
    return next((words for pattern, words in DEEDS if pattern.fullmatch(operation)), "")


async def name_keys(asking: Asking) -> dict[str, str]:
    """The names of keys by their ids: of all keys for administrators of keys, of the visitor's own for others."""
    own = await asking.find("/keys/self")
    names = {own.data["id"]: own.data["name"]} if own is not None and "id" in own.data else {}
    if "keys:admin" in asking.principal.scopes:
        names |= {key["id"]: key["name"] for key in (await asking.get("/keys", ("limit", "1000"))).data}
    return names


USAGE = Page("console usage", "/console/usage", build_usage)
AUDIT = Page("console audit", "/console/audit", build_audit)
