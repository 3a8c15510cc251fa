"""Who asked for what, and who did what: usage and the audit log."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from api.portal.asking import Asking
from api.portal.console.paging import chosen, next_path
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.account import sum_days, sum_places, sum_refusals

ENTRIES_SHOWN = 100


async def build_usage(asking: Asking) -> Content:
    """Usage of all callers, or of one."""
    wanted = chosen(asking, ("principal", "from", "to"))
    rows = (await asking.get("/operations/usage", *wanted.items())).data
    values = {
        "principals": sum_principals(rows),
        "days": sum_days(rows),
        "places": sum_places(rows)[:50],
        "refusals": sum_refusals(rows),
        "wanted": wanted,
    }
    return Content("console_usage.html", "Usage", values, is_kept=False, indexed=False, alternate="/operations/usage")


def sum_principals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The usage by caller, the most first."""
    sums: dict[str, dict[str, Any]] = defaultdict(lambda: {"requests": 0, "refused": 0, "bytes": 0})
    for row in rows:
        for name in ("requests", "refused", "bytes"):
            sums[row["principal"]][name] += row[name]
    found = [{"principal": principal} | counts for principal, counts in sums.items()]
    return sorted(found, key=lambda row: -row["requests"])


async def build_audit(asking: Asking) -> Content:
    """The audit log, the newest first."""
    wanted = chosen(asking, ("principal", "operation", "before"))
    reply = await asking.get("/operations/audit", *wanted.items(), ("limit", str(ENTRIES_SHOWN)))
    values = {"entries": reply.data, "next": next_path(reply, "/console/audit"), "wanted": wanted}
    title = "Audit log"
    return Content("console_audit.html", title, values, is_kept=False, indexed=False, alternate="/operations/audit")


USAGE = Page("console usage", "/console/usage", build_usage)
AUDIT = Page("console audit", "/console/audit", build_audit)
