"""What failing gates say, in words, and where to look further. Pure."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote

from api.portal.checks import NAMED

OF_PROPERTY = {
    "nullValues": "have no value in {}",
    "missingValues": "have a value in {} that counts as missing",
    "invalidValues": "have a value in {} that is not valid",
    "duplicateValues": "repeat a value of {}",
}
OF_BATCH = {
    "rowCount": "This is the number of records that the dataset would have.",
    "minRecords": "This is the number of records that the source brought.",
    "raw records": "This is the number of records that the source brought.",
    "maxRejected": "This is the share of raw records that break a rule of their own.",
    "maxDeleted": "This is the share of current records that the load would delete.",
}
PERCENT = "%"


class FailingGate(NamedTuple):
    """A gate that a load did not pass."""

    gate: dict[str, Any]
    words: str  # what it measured; empty where only the contract says it
    contract: str  # the path of the rule's place in the contract
    current: str | None  # the path of the current records with the same fault, where a filter finds them


def explain_gate(gate: dict[str, Any], load: dict[str, Any]) -> FailingGate:
    """A failing gate, with what it measured in words and the pages that lead on."""
    product = f"/browse/{quote(load['product'], safe='')}/v{load['major']}"
    dataset = quote(load["dataset"], safe="")
    contract = f"{product}/contract#{dataset}"
    named = NAMED.fullmatch(gate["rule"])
    if named is None or named[1] not in OF_PROPERTY:
        return FailingGate(gate, OF_BATCH.get(gate["rule"], ""), contract, None)
    prop = quote(named[2], safe="")
    current = f"{product}/{dataset}/explore?{prop}[null]=true" if named[1] == "nullValues" else None
    return FailingGate(gate, count_words(gate, load, named), f"{contract}.{prop}", current)


def count_words(gate: dict[str, Any], load: dict[str, Any], named: re.Match[str]) -> str:
    """How many records of the batch a rule of a property concerns."""
    if gate["measured"] is None:
        return ""
    fault = OF_PROPERTY[named[1]].format(named[2])
    if not gate["bound"].endswith(PERCENT):
        return f"{gate['measured']:,.0f} records {fault}."
    return f"{gate['measured']:.4g} {PERCENT} of the records after this load {fault}."
