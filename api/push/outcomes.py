"""The outcome of a pushed record, evaluated from the ledger and the dataset's tables. Pure.

| outcome | meaning |
|---|---|
| waiting | no load has taken it to its end yet |
| retrying | the load that took it failed in passing and is tried again |
| published | the dataset's revision `revision` wrote it |
| unchanged | nothing was written: the dataset held it, in `append` mode its key, or a newer one came beside it |
| duplicate | a newer record with the same key came in the same load |
| rejected | it broke the contract, for `reasons`; it lies in quarantine in `state` |
| withheld | a quality gate held its load back; its owner decides |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

OUTCOMES = ("waiting", "retrying", "published", "unchanged", "duplicate", "rejected", "withheld")


@dataclass(frozen=True)
class LoadState:
    """What the ledger says of the load that took a record."""

    id: int
    status: str
    revision: int | None  # what it published
    standing: int | None  # the revision that was current when it ended
    duplicates: int
    unchanged: int
    failed_before: bool


@dataclass(frozen=True)
class Rejection:
    """Why a record was rejected, and its place in quarantine."""

    reasons: list[dict[str, object]]
    state: str


def evaluate_outcome(
    load: LoadState | None, line: int | None, rejection: Rejection | None, written: Collection[int] | None
) -> dict[str, object]:
    """The outcome and its facts; `written` are the lines of the load that the tables hold, None where unknown."""
    if load is None:
        return {"outcome": "waiting"}
    facts = {"load": load.id, "line": line}
    if load.status in {"queued", "running", "failed"}:
        return {"outcome": "retrying" if load.failed_before else "waiting", **facts}
    if rejection is not None:
        return {"outcome": "rejected", **facts, "reasons": rejection.reasons, "state": rejection.state}
    if load.status == "withheld":
        return {"outcome": "withheld", **facts}
    if load.status == "published" and (written is None or line in written or not (load.duplicates or load.unchanged)):
        return {"outcome": "published", **facts, "revision": load.revision}
    if load.duplicates and not load.unchanged:
        return {"outcome": "duplicate", **facts}
    return {"outcome": "unchanged", **facts, "revision": load.standing}


def count_outcomes(events: Collection[Mapping[str, object]]) -> dict[str, int]:
    """How many records came to each outcome; those that none came to are left out."""
    found = [event["outcome"] for event in events]
    return {outcome: found.count(outcome) for outcome in OUTCOMES if outcome in found}
