"""What needs somebody, how every dataset stands, which workers are alive; and what makes loads."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from api.portal.asking import Asking
from api.portal.console.loads import PAGE as LOADS_PAGE
from api.portal.console.paging import with_query
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.catalogue import has_ended
from api.portal.slices import cut

PAGE, SCHEDULES_PAGE = "/console", "/console/schedules"
STATUS = "/operations/status"
SCHEDULES = "/operations/schedules"
INCIDENTS_SHOWN = 30
TITLES = {
    "load_failed": "A load failed",
    "load_withheld": "A load is withheld",
    "source_unreachable": "A source does not answer",
    "late": "A dataset is late",
    "quarantine_growing": "New rejected records",
    "no_worker": "No worker is alive",
    "schedule_missed": "A schedule was missed",
}
# What a person does about it, on the page where the incident leads.
LINK_TEXTS = {
    "load_failed": "See why it failed, and load again",
    "load_withheld": "See why, and decide about this load",
    "late": "See its loads",
    "quarantine_growing": "See the rejected records",
    "schedule_missed": "See the schedules",
}
COMMAND = "decant "


async def build_overview(asking: Asking) -> Content:
    """The page."""
    reply = await asking.get(STATUS)
    query_string: bytes = asking.request.scope["query_string"]
    # In a thread: thousands of datasets take their time, and others are answered meanwhile.
    values = await asyncio.to_thread(lambda: arrange(reply.value, query_string))
    return Content("console_overview.html", "Console", values, is_kept=False, indexed=False, alternate=STATUS)


def arrange(status: dict[str, Any], query_string: bytes) -> dict[str, Any]:
    """What the page shows of the status of all."""
    attention = status["attention"]
    needed = {place_of(incident): -place for place, incident in enumerate(reversed(attention))}
    # What needs somebody comes first, in the order of the incidents; the others as the API has them.
    datasets = [
        each | {"complete": has_ended(each["freshness"])}
        for each in sorted(status["data"], key=lambda each: needed.get(place_of(each), 1))
    ]
    return {
        "attention": [describe_incident(incident) for incident in attention[:INCIDENTS_SHOWN]],
        "unshown": Counter(TITLES.get(each["kind"], each["kind"]) for each in attention[INCIDENTS_SHOWN:]),
        "workers": status["workers"],
        "datasets": cut(datasets, query_string, PAGE),
        "open_rejects": sum(each["open_rejects"] for each in status["data"]),
    }


def place_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """The dataset that something is about."""
    return row["product"], row["major"], row["dataset"]


def describe_incident(incident: dict[str, Any]) -> dict[str, Any]:
    """An incident with its title, the page that it leads to, and the command that ends it, where that is one."""
    kind, following = incident["kind"], incident["next"]
    return incident | {
        "title": TITLES.get(kind, kind),
        "path": path_of(incident),
        "link_text": LINK_TEXTS.get(kind, "See more"),
        "command": following if following.startswith(COMMAND) else None,
    }


def path_of(incident: dict[str, Any]) -> str | None:
    """The page where somebody can act on an incident."""
    kind, load = incident["kind"], incident["load_id"]
    if kind == "load_withheld":
        return f"/console/withheld/{load}"
    if kind in {"quarantine_growing", "late"}:
        place = {name: str(incident[name]) for name in ("product", "major", "dataset")}
        return with_query("/console/rejects" if kind == "quarantine_growing" else LOADS_PAGE, place)
    if kind == "schedule_missed":
        return SCHEDULES_PAGE
    return f"{LOADS_PAGE}/{load}" if load is not None else None


async def build_schedules(asking: Asking) -> Content:
    """What makes loads, and how the schedules were kept."""
    reply = await asking.get(SCHEDULES)
    values = {"schedules": cut(reply.data, asking.request.scope["query_string"], SCHEDULES_PAGE)}
    return Content("console_schedules.html", "Schedules", values, is_kept=False, indexed=False, alternate=SCHEDULES)


OVERVIEW = Page("console overview", PAGE, build_overview)
SCHEDULE = Page("console schedules", SCHEDULES_PAGE, build_schedules)
