"""Loads: the list, and one load with its steps, gates and reasons."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from api.portal.action import Action
from api.portal.asking import Asking
from api.portal.console.gates import explain_gate
from api.portal.console.names import name_keys
from api.portal.console.paging import chosen, next_path, with_query
from api.portal.console.raw_text import mark_values
from api.portal.content import Content, Elsewhere
from api.portal.page import Page
from api.portal.rendering import write_count
from api.portal.signing_in.form import Form
from catalog.storage.statuses import LOAD_STATUSES, LOAD_STEPS, order_steps
from runtime.json_types import JsonObject

LOADS_SHOWN = 50
SAMPLES_SHOWN = 5
LOADS = "/operations/loads"
STATUS = "/operations/status"
UNDER_WAY = ("queued", "running")
PAGE = "/console/loads"
WATERFALL_WIDTH = 400  # units of the drawing


class Step(NamedTuple):
    """One step of a load, as its bar is drawn."""

    name: str
    seconds: float
    x: float
    width: float


async def build_loads(asking: Asking) -> Content:
    """The list, the newest first."""
    wanted = chosen(asking, ("product", "major", "dataset", "status", "before"))
    reply, names = await asyncio.gather(
        asking.get(LOADS, *wanted.items(), ("limit", str(LOADS_SHOWN))), name_keys(asking)
    )
    kept = {name: value for name, value in wanted.items() if name not in {"status", "before"}}
    states = [(state, with_query(PAGE, kept | {"status": state})) for state in LOAD_STATUSES]
    values = {
        "loads": reply.data,
        "under_way": sum(load["status"] in UNDER_WAY for load in reply.data),
        "names": names,
        "next": next_path(reply, PAGE),
        "wanted": wanted,
        "states": [("", with_query(PAGE, kept)), *states],
    }
    return Content("console_loads.html", "Loads", values, is_kept=False, indexed=False, alternate=LOADS)


async def build_load(asking: Asking) -> Content:
    """One load."""
    path = asking.fill(f"{LOADS}/{{load}}")
    load = (await asking.get(path)).data
    names = await name_keys(asking)
    waits = load["status"] == "queued"
    workers = (await asking.get(STATUS)).value["workers"] if waits else []
    samples: list[dict[str, Any]] = []
    if load["rejected"]:
        asked = (("load", str(load["id"])), ("state", "all"), ("limit", str(SAMPLES_SHOWN)))
        samples = (await asking.get("/operations/rejects", *asked)).data
    values = {
        "load": load,
        "names": names,
        "is_unattended": waits and not any(worker["alive"] for worker in workers),
        "place": place_of(load),
        "purpose": words_of(load["request"] or {}),
        "reason": note_of(load["request"] or {}),
        "steps": steps_of(load["step_seconds"] or {}),
        "samples": [sample | {"marked": mark_values(sample)} for sample in samples],
        "rejects": with_query("/console/rejects", place_of(load) | {"load": str(load["id"]), "state": "all"}),
    }
    title = f"Load {load['id']} of {load['dataset']}"
    return Content("console_load.html", title, values, is_kept=False, indexed=False, alternate=path)


def words_of(request: dict[str, Any]) -> str:
    """What was asked for beside the input."""
    match request:
        case {"publish": int(load_id)}:
            return f"Publishes load {load_id} anyway, which had been withheld."
        case {"replay": {"load": int(load_id)}}:
            return f"The batch of load {load_id} again."
        case {"replay": {"ids": [*ids]}}:
            return f"{write_count(len(ids), 'chosen rejected record')} again, as far as still open."
        case {"replay": {}}:
            return "Open rejected records again."
        case {"dismiss": {}}:
            return "Dismissal of rejected records."
        case {"erase": {}}:
            return "Erasure of one key, wherever it lies."
        case {"prune": {}}:
            return "Removal of old records."
    return ""


def note_of(request: dict[str, Any]) -> str:
    """Why it was asked for, where somebody said so."""
    dismissal = request.get("dismiss")
    note = dismissal.get("note") if isinstance(dismissal, dict) else request.get("note")
    return str(note) if note else ""


def steps_of(seconds: dict[str, float]) -> list[Step]:
    """The steps one after the other, as the load took them; the shortest can still be seen."""
    whole = sum(seconds.values()) or 1
    steps, x = [], 0.0
    for name, spent in order_steps(seconds).items():
        width = spent / whole * WATERFALL_WIDTH
        steps.append(Step(LOAD_STEPS.get(name, name), spent, round(x, 1), round(max(width, 2), 1)))
        x += width
    return steps


def place_of(load: dict[str, Any]) -> dict[str, str]:
    """The dataset of a load, as parameters."""
    return {"product": load["product"], "major": str(load["major"]), "dataset": load["dataset"]}


def document_of(form: Form) -> JsonObject:
    """The dataset that a form names, as the API takes it."""
    major = form.get("major")
    document: JsonObject = {"product": form.get("product"), "dataset": form.get("dataset")}
    return document | ({"major": int(major)} if major.isdecimal() and len(major) < 6 else {"major": major})


async def load_again(asking: Asking, form: Form) -> Content:
    """Queues a load of the dataset's input."""
    reply = await asking.post(LOADS, document_of(form), form.get("once"))
    raise Elsewhere(queued_page(reply.data))


def queued_page(queued: list[dict[str, Any]]) -> str:
    """The page of the load that an action has queued."""
    return f"{PAGE}/{queued[0]['id']}"


async def build_withheld(asking: Asking) -> Content:
    """A withheld load: what it would change, which checks failed, who reads the dataset."""
    load = (await asking.get(asking.fill(f"{LOADS}/{{load}}"))).data
    if load["status"] != "withheld" or load["overtaken_by"]:
        raise Elsewhere(f"{PAGE}/{load['id']}")
    dataset_path = f"/data/{load['product']}/v{load['major']}/{load['dataset']}"
    usage, dataset, names = await asyncio.gather(
        asking.get("/operations/usage"), asking.find(dataset_path), name_keys(asking)
    )
    values = {
        "load": load,
        "failing": [explain_gate(gate, load) for gate in load["gates"] if not gate["passed"]],
        "readers": readers_of(usage.data, load),
        "names": names,
        "revision": dataset.data["revision"] if dataset else None,
    }
    title = f"Withheld load {load['id']} of {load['dataset']}"
    return Content("console_withheld.html", title, values, is_kept=False, indexed=False)


def readers_of(rows: list[dict[str, Any]], load: dict[str, Any]) -> list[tuple[str, int]]:
    """Who asked for the dataset, and how often, the most first."""
    sums: dict[str, int] = {}
    for row in rows:
        if (row["product"], row["major"], row["dataset"]) == (load["product"], load["major"], load["dataset"]):
            sums[row["principal"]] = sums.get(row["principal"], 0) + row["requests"]
    return sorted(sums.items(), key=lambda each: -each[1])


async def publish_anyway(asking: Asking, form: Form) -> Content:
    """Queues the publication of a withheld load, with the reason on record."""
    path = asking.fill(f"{LOADS}/{{load}}/publish")
    document: JsonObject = {"anyway": True, "note": form.get("note")}
    reply = await asking.post(path, document, form.get("once"))
    raise Elsewhere(queued_page(reply.data))


LIST = Page("console loads", PAGE, build_loads)
ONE = Page("console load", f"{PAGE}/{{load}}", build_load)
WITHHELD = Page("console withheld load", "/console/withheld/{load}", build_withheld)
LOAD_AGAIN = Action("console load again", PAGE, load_again)
PUBLISH_ANYWAY = Action("console publish anyway", "/console/withheld/{load}", publish_anyway, needs_fresh=True)
