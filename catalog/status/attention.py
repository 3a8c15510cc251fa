"""What needs somebody: one entry for each incident, in words that hold no value of a record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.status.ages import show_age
from catalog.status.dataset_status import DatasetStatus, in_utc
from catalog.status.ledger import read_moment
from catalog.status.schedules import ScheduleStatus

KINDS = (
    "load_failed",
    "load_withheld",
    "source_unreachable",
    "late",
    "quarantine_growing",
    "no_worker",
    "schedule_missed",
)
RULES_SHOWN = 3  # of a withheld load
SOURCE_GRACE = timedelta(minutes=1)  # a broker that is started again is not away
FLOWS = {
    "batch": "Load {id}",
    "replay": "The replay {id}",
    "prune": "The pruning {id}",
    "erase": "The erasure {id}",
    "dismiss": "The dismissal {id}",
}
OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Incident:
    """One thing that somebody should look at."""

    kind: str  # one of KINDS
    dataset: Dataset | None  # None where it is about all of them
    since: datetime | None
    load_id: int | None
    message: str
    next: str  # what to ask or to run


def find_incidents(
    catalog: Catalog,
    statuses: Sequence[DatasetStatus],
    schedules: Sequence[ScheduleStatus],
    ledger: Mapping[str, Any],
    now: datetime,
) -> list[Incident]:
    """What needs somebody, newest first.

    A failure that a later success has overtaken is none. What follows from another incident has no entry of its own:
    a dataset is late by itself where no load of it failed, was withheld or is missing, and without a worker no
    single schedule is missed.
    """
    incidents = list(find_missing_worker(statuses, schedules, ledger))
    missing = {each.dataset.address: each for each in schedules if each.missing_since and not incidents}
    for status in statuses:
        if status.facts is None or catalog.product_of(status.dataset).status == "retired":
            continue
        found = list(find_bad_loads(status))
        if (schedule := missing.get(status.dataset.address)) is not None:
            found.append(describe_missed(catalog, status, schedule))
        found += find_unreachable(status, now)
        if not found:
            found += find_late(status, now)
        listed = {incident.load_id for incident in found}
        incidents += [*found, *(each for each in find_growing(status) if each.load_id not in listed)]
    return sorted(incidents, key=lambda each: (each.since or OLDEST, each.load_id or 0), reverse=True)


def find_missing_worker(
    statuses: Iterable[DatasetStatus], schedules: Iterable[ScheduleStatus], ledger: Mapping[str, Any]
) -> Iterator[Incident]:
    """That nobody runs what waits, or will be due."""
    if any(worker["alive"] for worker in ledger["workers"]):
        return
    queued = [status.facts for status in statuses if status.facts is not None and status.facts["queued"]]
    scheduled = sum("schedule" in each.makers for each in schedules)
    waiting = sum(facts["queued"] for facts in queued)
    if waiting:
        text = f"No worker is alive, and {waiting:,} load{'s wait' if waiting > 1 else ' waits'} for one."
    elif scheduled:
        datasets = f"{scheduled:,} dataset{'s' if scheduled > 1 else ''}"
        text = f"No worker is alive: the schedules of {datasets} start no load."
    else:
        return
    oldest = min((in_utc(facts["queued_since"]) or OLDEST for facts in queued), default=None)
    since = in_utc(ledger["worker_seen_at"]) or oldest
    yield Incident("no_worker", None, since, None, text, "decant worker")


def find_bad_loads(status: DatasetStatus) -> Iterator[Incident]:
    """The loads that failed, or were withheld, and that nothing has overtaken; one entry for each that counts."""
    facts = status.facts or {}
    groups: dict[tuple[str, str | None, str], list[dict[str, Any]]] = {}
    for load in facts["bad"] or ():  # newest first
        groups.setdefault((load["flow"], load["about"], load["status"]), []).append(load)
    for (flow, about, kind), loads in groups.items():
        newest = loads[0]
        if kind == "failed":
            withheld = groups.get((flow, about, "withheld"))
            if withheld is not None:  # a load that came to its gates has overtaken what failed before
                loads = [load for load in loads if load["id"] > withheld[0]["id"]]
            if not loads:
                continue
        name = FLOWS[flow].format(id=newest["id"])
        since = read_moment(loads[-1]["at"])
        if kind == "failed":
            text = f"{name} failed ({newest['error_code'] or 'unknown'}). {tell_readers(status)}"
            look = f"GET /operations/loads/{newest['id']}"
            yield Incident("load_failed", status.dataset, since, newest["id"], text, look)
        else:
            text = f"{name} is withheld{describe_rules(newest['rules'] or [])}. {tell_readers(status)}"
            publish = f"POST /operations/loads/{newest['id']}/publish"
            yield Incident("load_withheld", status.dataset, since, newest["id"], text, publish)


def describe_rules(rules: Sequence[Mapping[str, Any]]) -> str:
    """The rules that a withheld load did not keep, as the contract calls them, with what they measured."""
    shown = []
    for rule in rules[:RULES_SHOWN]:
        unit = " %" if rule["bound"].endswith("%") else ""
        measured = "could not be measured" if rule["measured"] is None else f"measured {rule['measured']:g}{unit}"
        shown.append(f"{rule['rule']} {measured}, must be {rule['bound']}")
    if len(rules) > RULES_SHOWN:
        shown.append(f"{len(rules) - RULES_SHOWN} more")
    return ": " + "; ".join(shown) if shown else ": a check failed"


def find_unreachable(status: DatasetStatus, now: datetime) -> Iterator[Incident]:
    """That the source of a stream has not answered for a while; where messages are gone, a failed load says so."""
    source, lag = status.dataset.input, (status.facts or {}).get("lag")
    if source is None or not source.fed.streamed or not lag or lag["error"] is None:
        return
    since = in_utc(lag["measured_at"]) or now
    is_gap = any(load["error_code"] == "stream_gap" for load in (status.facts or {})["bad"] or ())
    if is_gap or now - since < SOURCE_GRACE:
        return
    noun = "broker" if source.kind == "stream" else "source"
    text = f"The {noun} does not answer, or refuses: nothing is read. {tell_readers(status)}"
    look = f"decant status {status.dataset.address}"
    yield Incident("source_unreachable", status.dataset, since, None, text, look)


def describe_missed(catalog: Catalog, status: DatasetStatus, schedule: ScheduleStatus) -> Incident:
    """That no load was made for the last tick of a schedule, since the first in a row."""
    applied = (status.facts or {}).get("contract_sha256")
    is_outdated = applied != catalog.product_of(status.dataset).sha256
    text = "The schedule started no load. " + ("The contract is not migrated. " if is_outdated else "")
    look = "decant migrate" if is_outdated else "GET /operations/schedules"
    since = schedule.missing_since
    return Incident("schedule_missed", status.dataset, since, None, text + tell_readers(status), look)


def find_late(status: DatasetStatus, now: datetime) -> Iterator[Incident]:
    """That the dataset does not keep the latency that its contract promises."""
    fresh = status.freshness
    if fresh["fresh"] is not False:
        return
    since = None
    if fresh["late_seconds"] is not None:
        since = now - timedelta(seconds=fresh["late_seconds"])
    yield Incident("late", status.dataset, since, None, tell_readers(status), "POST /operations/loads")


def find_growing(status: DatasetStatus) -> Iterator[Incident]:
    """That the newest load left records in quarantine that were not there before."""
    facts = status.facts or {}
    added = facts["added"]
    if not added or not added["records"]:
        return
    number = added["records"]
    text = (
        f"Load {added['load']} added {number:,} rejected record{'s' if number > 1 else ''} to quarantine;"
        f" {facts['open_rejects']:,} {'are' if facts['open_rejects'] > 1 else 'is'} open."
    )
    look = f"GET /operations/rejects?load={added['load']}"
    yield Incident("quarantine_growing", status.dataset, read_moment(added["at"]), added["load"], text, look)


def tell_readers(status: DatasetStatus) -> str:
    """What readers see meanwhile, and how late it is."""
    revision = (status.facts or {}).get("revision")
    text = f"Readers keep revision {revision}" if revision else "Nothing is published yet"
    late = status.freshness.get("late_seconds")
    return f"{text}, late by {show_age(timedelta(seconds=late))}." if revision and late else f"{text}."
