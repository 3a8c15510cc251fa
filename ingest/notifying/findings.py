"""What people could be told of now: the incidents of the ledger, by the events that contracts name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.model.reserved_names import OWN_PRODUCTS
from catalog.status.attention import Incident, find_incidents, find_late
from catalog.status.dataset_status import DatasetStatus, evaluate_statuses
from catalog.status.ledger import LEDGER, ledger_values, parse_ledger
from catalog.status.schedules import TICKS, evaluate_schedules, plan_ticks, tick_values
from ingest.cleaning.unread import GONE_NOTE, UNREAD_NOTE

WORKER_GRACE = timedelta(minutes=2)  # a worker that is started again is not missing
KEY_NOTICE = timedelta(days=14)  # before a key's end; as long after it, as nobody has rotated it
# Another event of a dataset, which explains why it is late: who is told of that need not be told twice.
EXPLAINS_LATE = ("load_failed", "load_withheld", "source_unreachable", "schedule_missed", "no_worker")
KINDS = {"late": "freshness_missed"}  # of catalog.status.attention, where an event has another name

# What the newest load that parsed a batch noted of its columns; a batch that repeats the latest one is not parsed.
NOTED = sa.text("""
SELECT d.product, d.major, d.dataset, l.id, l.finished_at, l.notes FROM decant.datasets AS d
CROSS JOIN LATERAL (
  SELECT id, coalesce(finished_at, started_at) AS finished_at, notes FROM decant.loads
  WHERE dataset_id = d.id AND kind = 'ingest' AND status IN ('published', 'unchanged', 'withheld') AND raw > 0
  ORDER BY id DESC LIMIT 1
) AS l WHERE l.notes IS NOT NULL
""")
# No login of a worker reads keys: a function tells which end when.
KEYS = sa.text("SELECT id, scopes, expires_at FROM decant.ending_keys(:first, :last)")


@dataclass(frozen=True)
class Found:
    """One incident, as it stands now."""

    kind: str  # of EVENTS
    product: str | None  # None where it is about all of them
    major: int | None
    dataset: str | None
    subject: str  # what else there can be several of
    since: datetime
    load_id: int | None
    message: str
    next: str  # what to run
    path: str  # of the console's page

    @property
    def place(self) -> tuple[object, ...]:
        """What makes it the same incident at the next look."""
        return (self.kind, self.product, self.major, self.dataset, self.subject)


def find_all(connection: sa.Connection, catalog: Catalog, now: datetime) -> list[Found]:
    """Every incident of the products of a catalogue; one of each kind for each dataset."""
    text = connection.exec_driver_sql(LEDGER, ledger_values(catalog)).scalar_one()
    ledger = parse_ledger(text)
    plans = plan_ticks(catalog, now)
    ticks = json.loads(connection.exec_driver_sql(TICKS, tick_values(plans)).scalar_one())
    schedules = evaluate_schedules(catalog, plans, ticks, now)
    statuses = evaluate_statuses(catalog, ledger, now)
    incidents = find_incidents(catalog, statuses, schedules, ledger, now)
    incidents += find_hidden_late(catalog, statuses, incidents, now)
    found = [describe(incident, now) for incident in incidents if not is_too_new(incident, now)]
    return merge([*found, *find_changed(connection, catalog, now), *find_ending_keys(connection, catalog, now)])


def is_too_new(incident: Incident, now: datetime) -> bool:
    """Whether it may be over before anybody could look."""
    return incident.kind == "no_worker" and incident.since is not None and now - incident.since < WORKER_GRACE


def find_hidden_late(
    catalog: Catalog, statuses: Iterable[DatasetStatus], incidents: Iterable[Incident], now: datetime
) -> list[Incident]:
    """The late datasets that another incident explains, and the console leaves out: a channel may want these."""
    known_late = {each.dataset.address for each in incidents if each.kind == "late" and each.dataset is not None}
    return [
        late
        for status in statuses
        if status.facts is not None
        and status.dataset.address not in known_late
        and catalog.product_of(status.dataset).status != "retired"
        for late in find_late(status, now)
    ]


def describe(incident: Incident, now: datetime) -> Found:
    """An incident of the console with what to run in a shell."""
    dataset, kind = incident.dataset, KINDS.get(incident.kind, incident.kind)
    return Found(
        kind=kind,
        product=dataset.product if dataset else None,
        major=dataset.major if dataset else None,
        dataset=dataset.name if dataset else None,
        subject="",
        since=incident.since or now,
        load_id=incident.load_id,
        message=f"The data is late. {incident.message}" if kind == "freshness_missed" else incident.message,
        next=choose_command(kind, incident, dataset),
        path=choose_page(kind, incident.load_id),
    )


def choose_command(kind: str, incident: Incident, dataset: Dataset | None) -> str:
    """The next command."""
    if kind == "quarantine_growing" and dataset:
        return f"decant rejects {dataset.address}"
    if kind in {"schedule_missed", "source_unreachable"} or dataset is None:
        return incident.next if incident.next.startswith("decant ") else "decant status"
    return f"decant loads show {incident.load_id}" if incident.load_id else f"decant status {dataset.address}"


def choose_page(kind: str, load_id: int | None) -> str:
    """The page of the console that shows it."""
    if kind == "load_withheld":
        return f"/console/withheld/{load_id}"
    if kind == "quarantine_growing":
        return f"/console/rejects?load={load_id}"
    if kind == "schedule_missed":
        return "/console/schedules"
    return f"/console/loads/{load_id}" if load_id is not None else "/console"


def find_changed(connection: sa.Connection, catalog: Catalog, now: datetime) -> Iterator[Found]:
    """Sources whose columns are not what the contract reads. No name is told: without a header, it may be a value."""
    for row in connection.execute(NOTED):
        product = catalog.products.get((row.product, row.major))
        if product is None or product.status == "retired" or row.dataset not in product.datasets:
            continue
        notes = [note for note in row.notes if str(note).startswith((UNREAD_NOTE, GONE_NOTE))]
        if not notes:
            continue
        words = dict.fromkeys(UNREAD_NOTE if str(note).startswith(UNREAD_NOTE) else GONE_NOTE for note in notes)
        yield Found(
            kind="schema_changed",
            product=row.product,
            major=row.major,
            dataset=row.dataset,
            subject=hashlib.sha256(json.dumps(notes).encode()).hexdigest()[:16],
            since=row.finished_at or now,
            load_id=row.id,
            message=f"The source is not as the contract has it: load {row.id} met {', and '.join(words)}."
            " Readers see what the contract reads.",
            next=f"decant loads show {row.id}",
            path=choose_page("schema_changed", row.id),
        )


def find_ending_keys(connection: sa.Connection, catalog: Catalog, now: datetime) -> Iterator[Found]:
    """Keys that end soon, or have ended and nobody rotated: for their products, operators' for all."""
    for row in connection.execute(KEYS, {"first": now - KEY_NOTICE, "last": now + KEY_NOTICE}):
        prefixes = {str(scope).partition(":")[0] for scope in row.scopes} - OWN_PRODUCTS
        concerned: list[tuple[str | None, int | None]] = [
            (product.id, product.major) for product in catalog.products.values() if product.id in prefixes
        ]
        if not prefixes:
            concerned = [(None, None)]
        verb = "ends" if row.expires_at > now else "ended"
        for product_id, major in concerned:
            yield Found(
                kind="key_expiring",
                product=product_id,
                major=major,
                dataset=None,
                subject=row.id,
                since=row.expires_at - KEY_NOTICE,
                load_id=None,
                message=f"The key {row.id} {verb} on {row.expires_at:%Y-%m-%d at %H:%M} UTC:"
                f" what uses it {'will be' if verb == 'ends' else 'is'} refused from then on.",
                next=f"decant keys rotate {row.id}",
                path="/console",
            )


def merge(found: Iterable[Found]) -> list[Found]:
    """One of several in one place: the newest, since the oldest began."""
    merged: dict[tuple[object, ...], Found] = {}
    for each in found:
        known = merged.get(each.place)
        if known is None:
            merged[each.place] = each
            continue
        newer = max(known, each, key=lambda one: one.load_id or 0)
        merged[each.place] = replace(newer, since=min(known.since, each.since))
    return list(merged.values())


def is_explained(found: Any, wanted: Iterable[str], open_places: Iterable[tuple[object, ...]]) -> bool:
    """Whether a channel need not be told that a dataset is late: it is told why."""
    if found.kind != "freshness_missed":
        return False
    places = set(open_places)
    mine = (found.product, found.major, found.dataset, "")
    reasons = {(kind, *mine) for kind in EXPLAINS_LATE} | {("no_worker", None, None, None, "")}
    return any(reason in places and reason[0] in wanted for reason in reasons)
