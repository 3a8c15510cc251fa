"""Who asked for what, and who did what: usage and the audit log."""

from __future__ import annotations

from api.portal.asking import Asking
from api.portal.console.names import name_keys
from api.portal.console.operation_words import describe_operation
from api.portal.console.paging import chosen, next_path
from api.portal.content import Content
from api.portal.page import Page
from api.portal.usage_sums import sum_days, sum_places, sum_principals, sum_refusals

ENTRIES_SHOWN = 100


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
        "entries": [entry | {"words": describe_operation(entry["operation"])} for entry in reply.data],
        "names": await name_keys(asking),
        "next": next_path(reply, "/console/audit"),
        "wanted": wanted,
    }
    title = "Audit log"
    return Content("console_audit.html", title, values, is_kept=False, indexed=False, alternate="/operations/audit")


USAGE = Page("console usage", "/console/usage", build_usage)
AUDIT = Page("console audit", "/console/audit", build_audit)
