"""Rejected records: by reason, with their raw text; replayed or dismissed by reason or by selection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from api.http.problems import Problem
from api.portal.action import Action
from api.portal.asking import Asking, Reply
from api.portal.console.loads import document_of, queued_page
from api.portal.console.names import name_keys
from api.portal.console.paging import chosen, next_path, with_query
from api.portal.console.raw_text import mark_values
from api.portal.content import Content, Elsewhere
from api.portal.page import Page
from api.portal.signing_in.form import Form
from catalog.storage.statuses import REJECT_STATES
from runtime.json_types import JsonObject

REJECTS_SHOWN = 25
REJECTS = "/operations/rejects"
PAGE = "/console/rejects"
# What a state is called on the page.
STATE_WORDS = {"superseded": "replaced by newer data"}
PLACE = ("product", "major", "dataset")
REASON = ("rule", "property")


async def build_rejects(asking: Asking) -> Content:
    """The page: the reasons, and the records of those that are chosen."""
    wanted = chosen(asking, (*PLACE, *REASON, "state", "load", "before"))
    place = {name: wanted[name] for name in PLACE if name in wanted}
    state = wanted.get("state", "open")
    reasons, records, names = await asyncio.gather(
        count_reasons(asking, (*place.items(), ("state", state))),
        asking.get(REJECTS, *wanted.items(), ("limit", str(REJECTS_SHOWN))),
        name_keys(asking),
    )
    places = places_of(records.data)
    kept = {name: value for name, value in wanted.items() if name not in {"state", "before"}}
    values: dict[str, Any] = {
        "reasons": [reason | {"path": reason_path(reason, state)} for reason in reasons.data] if reasons else [],
        "uncounted": reasons is None,
        "counted": reasons.value["count"] if reasons else None,
        "records": [record | {"marked": mark_values(record)} for record in records.data],
        "next": next_path(records, PAGE),
        "wanted": wanted,
        "names": names,
        "place": place if len(place) == len(PLACE) else next(iter(places)) if len(places) == 1 else None,
        "places": [each | {"path": with_query(PAGE, kept | each)} for each in places],
        "state": state,
        "states": [(each, with_query(PAGE, kept | {"state": each})) for each in (*REJECT_STATES, "all")],
        "state_words": STATE_WORDS,
    }
    return Content(
        "console_rejects.html", "Rejected records", values, is_kept=False, indexed=False, alternate=REJECTS
    )


def places_of(records: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The datasets of records, in the order of their names: what is replayed or dismissed together is of one."""
    places = {tuple(str(record[name]) for name in PLACE) for record in records}
    return [dict(zip(PLACE, place, strict=True)) for place in sorted(places)]


async def count_reasons(asking: Asking, parameters: Sequence[tuple[str, str]]) -> Reply | None:
    """The reasons; None where there are too many records to count them in time: these are shown all the same."""
    try:
        return await asking.get(f"{REJECTS}/reasons", *parameters)
    except Problem as problem:
        if problem.code not in {"query_timeout", "unavailable"}:
            raise
        return None


def reason_path(reason: dict[str, Any], state: str) -> str:
    """The page with the records of one reason."""
    members = {name: str(reason[name]) for name in (*PLACE, *REASON) if reason[name] is not None}
    return with_query(PAGE, members | ({"state": state} if state != "open" else {}))


async def replay(asking: Asking, form: Form) -> Content:
    """Queues a replay of what the form chooses."""
    reply = await asking.post("/operations/replays", document_of(form) | choice_of(form), form.get("once"))
    raise Elsewhere(queued_page(reply.data))


async def dismiss(asking: Asking, form: Form) -> Content:
    """Queues the dismissal of what the form chooses, with the note on record."""
    if not form.get("note"):
        raise Problem("invalid_value", "A dismissal needs a note: it says why the records will not be corrected.")
    document = document_of(form) | choice_of(form) | {"note": form.get("note")}
    reply = await asking.post("/operations/dismissals", document, form.get("once"))
    raise Elsewhere(queued_page(reply.data))


def choice_of(form: Form) -> JsonObject:
    """The records that a form chooses: all with a reason, or those that are ticked."""
    if form.get("what") == "reason":
        return {name: form.get(name) for name in REASON if form.get(name)}
    if not form.all("id"):
        raise Problem("invalid_value", "Tick at least one record, or choose all with a reason.")
    ids = [int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text for text in form.all("id")]
    return {"ids": ids}


LIST = Page("console rejects", PAGE, build_rejects)
REPLAY = Action("console replay", f"{PAGE}/replay", replay)
DISMISS = Action("console dismissal", f"{PAGE}/dismiss", dismiss)
