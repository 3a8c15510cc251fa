"""Blocks of a report about how the data stands, over the datasets that the caller sees: state, checks, quarantine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.portal.asking import Asking
from api.portal.pages.catalogue import STATES, Entry, entries_of
from api.portal.pages.report_answers import CLOSED, Note, ShownBlock
from api.portal.reports.model import Block

STATES_LISTED = 50  # datasets, those that need attention first
CHECKED_MAXIMUM = 20  # datasets whose checks are listed one by one
REASONS_LISTED = 100


@dataclass(frozen=True)
class Reason:
    """Why records of a dataset lie in quarantine, and how many."""

    entry: Entry
    dataset: str
    reason: str
    records: int


async def answer_overview(asking: Asking, block: Block) -> ShownBlock:
    """A block with what the catalogue says of its datasets."""
    if block.faults:
        text = "; ".join(fault.message for fault in block.faults)
        return ShownBlock(block, Note("wrong", "This part of the report is faulty", text))
    catalogue = await asking.get("/data")
    entries = [entry for entry in entries_of(catalogue.data) if is_meant(block, entry)]
    if not entries:
        return ShownBlock(block, CLOSED)
    if block.kind == "state":
        return ShownBlock(block, facts=describe_state(entries))
    if block.kind == "checks":
        return ShownBlock(block, facts=await describe_checks(asking, entries))
    return ShownBlock(block, facts=await describe_quarantine(asking, entries))


def is_meant(block: Block, entry: Entry) -> bool:
    """Whether a block is about a dataset."""
    product, major = entry.product["product"], str(entry.product["major"])
    return not block.places or any(place.holds(product, major, entry.dataset["dataset"]) for place in block.places)


def describe_state(entries: Sequence[Entry]) -> dict[str, Any]:
    """How many datasets are in each state, and a row for each of the first, those that need attention."""
    counts = Counter(entry.state for entry in entries)
    order = list(STATES)
    ordered = sorted(entries, key=lambda entry: (order.index(entry.state), entry.path))
    return {
        "counts": [(state, text, counts[state]) for state, text in STATES.items() if counts[state]],
        "entries": ordered[:STATES_LISTED],
        "unshown": len(ordered[STATES_LISTED:]),
    }


async def describe_checks(asking: Asking, entries: Sequence[Entry]) -> dict[str, Any]:
    """How many checks passed at the last measurement, and each that did not."""
    checked = [entry for entry in entries if "quality" in entry.dataset]
    rules = [entry.dataset["quality"]["rules"] for entry in checked]
    failing = [
        entry for entry, counted in zip(checked, rules, strict=True) if counted["broken"] or counted["warnings"]
    ]
    replies = await asyncio.gather(
        *(asking.find(f"{entry.dataset_path}/quality", ("limit", "1")) for entry in failing[:CHECKED_MAXIMUM])
    )
    others = [
        (entry, load, rule)
        for entry, reply in zip(failing, replies, strict=False)
        for load in (reply.data if reply else [])
        for rule in load["rules"]
        if not rule["passed"]
    ]
    return {
        "datasets": len(checked),
        "passed": sum(counted["kept"] for counted in rules),
        "others": others,
        "left_out": len(failing) - len(replies),
    }


async def describe_quarantine(asking: Asking, entries: Sequence[Entry]) -> dict[str, Any]:
    """How many records the last loads rejected; for operators, what lies open in quarantine, by reason."""
    rejected = [entry for entry in entries if (entry.dataset.get("quality") or {}).get("rejected")]
    facts: dict[str, Any] = {"rejected": rejected, "datasets": len(entries), "reasons": None}
    if "ops:read" not in asking.principal.scopes:
        return facts
    status, reasons = await asyncio.gather(
        asking.get("/operations/status"),
        asking.get("/operations/rejects/reasons", ("limit", str(REASONS_LISTED))),
    )
    known = {key_of(entry): entry for entry in entries}
    found = [reason for reason in reasons.data if place_of(reason) in known]
    return facts | {
        "open": sum(each["open_rejects"] for each in status.data if place_of(each) in known),
        "more": reasons.value["reasons"] > len(reasons.data),
        "counted": reasons.value["count"],
        "reasons": [
            Reason(known[place_of(reason)], reason["dataset"], name_reason(reason), reason["records"])
            for reason in found
        ],
    }


def key_of(entry: Entry) -> tuple[str, int, str]:
    """Product, major and name of a dataset of the catalogue."""
    return entry.product["product"], entry.product["major"], entry.dataset["dataset"]


def place_of(row: dict[str, Any]) -> tuple[str, int, str]:
    """The same of a row of an operator's list."""
    return row["product"], row["major"], row["dataset"]


def name_reason(reason: dict[str, Any]) -> str:
    """A reason, as `property: rule`."""
    return ": ".join(filter(None, (reason["property"], reason["rule"])))
