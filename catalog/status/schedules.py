"""Schedules: what ticks next, what ticked last, and which ticks no load was made for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.model.schedule import last_tick, next_tick, previous_tick, scheduled_datasets

WINDOW = timedelta(days=7)
TICKS_MAXIMUM = 100  # of each dataset
MAKERS = ("schedule", "watch", "events", "derived")
GRACE = timedelta(seconds=60)  # after a tick until its load counts as missing
# A load belongs to the tick that it was made for, and to the one before its start.
TICKS = """
SELECT coalesce(json_agg(json_build_object('address', t.address, 'applied_at', c.applied_at,
  'reached', reached.places, 'queued', queued.is_any, 'last_load', last.facts)), '[]')::text
FROM json_to_recordset(%(ticks)s::json) AS t (address text, ticks timestamptz[])
JOIN decant.datasets AS d ON d.product || '@' || d.major || '.' || d.dataset = t.address
LEFT JOIN decant.contracts AS c ON c.product = d.product AND c.major = d.major
CROSS JOIN LATERAL (
  SELECT coalesce(json_agg(DISTINCT place), '[]') AS places FROM (
    SELECT width_bucket(started_at, t.ticks) AS place FROM decant.loads
    WHERE dataset_id = d.id AND started_at >= t.ticks[1] AND status <> 'queued'
    UNION ALL
    SELECT width_bucket(scheduled_at, t.ticks) FROM decant.loads
    WHERE dataset_id = d.id AND scheduled_at >= t.ticks[1]
  ) AS each
) AS reached
CROSS JOIN LATERAL (
  SELECT EXISTS (SELECT FROM decant.loads WHERE dataset_id = d.id AND status = 'queued') AS is_any
) AS queued
LEFT JOIN LATERAL (
  SELECT json_build_object('id', id, 'kind', kind, 'status', status, 'scheduled_at', scheduled_at,
    'started_at', started_at, 'finished_at', finished_at, 'error_code', error_code) AS facts
  FROM decant.loads
  WHERE dataset_id = d.id
    AND (scheduled_at = t.ticks[cardinality(t.ticks)] OR started_at >= t.ticks[cardinality(t.ticks)])
  ORDER BY (scheduled_at = t.ticks[cardinality(t.ticks)]) DESC NULLS LAST, id DESC LIMIT 1
) AS last ON true
"""


@dataclass(frozen=True)
class ScheduleStatus:
    """What makes loads of one dataset, and how its schedule was kept."""

    dataset: Dataset
    crons: tuple[str, ...]  # empty where something else makes its loads
    makers: tuple[str, ...]  # in a word each
    next_tick: datetime | None
    last_tick: datetime | None  # None too where the contract was applied after it: then it never was
    last_load: Mapping[str, Any] | None  # of the last tick
    missed: tuple[datetime, ...]  # newest first
    missing_since: datetime | None  # the first of those in a row that end with the last tick


def schedules_of(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """The cron expressions of each dataset that has a schedule, by its address."""
    found: dict[str, tuple[str, ...]] = {}
    for dataset, cron in scheduled_datasets(catalog):
        found[dataset.address] = tuple(dict.fromkeys((*found.get(dataset.address, ()), cron)))
    return found


def plan_ticks(catalog: Catalog, now: datetime) -> dict[str, list[datetime]]:
    """The ticks to be looked at of each dataset with a schedule, oldest first: the last one, however old it is, and
    those of a week before it, at most TICKS_MAXIMUM.
    """
    by_cron: dict[str, list[datetime]] = {}  # many datasets have the same
    plans = {}
    for address, crons in schedules_of(catalog).items():
        ticks = set()
        for cron in crons:
            if cron not in by_cron:
                by_cron[cron] = list(ticks_before(cron, now))
            ticks.update(by_cron[cron])
        plans[address] = sorted(ticks)[-TICKS_MAXIMUM:]
    return plans


def ticks_before(cron: str, now: datetime) -> Iterator[datetime]:
    """The last tick of an expression, and those before it within the window, newest first."""
    tick = last_tick(cron, now)
    for _ in range(TICKS_MAXIMUM):
        yield tick
        tick = previous_tick(cron, tick)
        if tick < now - WINDOW:
            return


def tick_values(plans: Mapping[str, Sequence[datetime]]) -> dict[str, object]:
    """What TICKS is run with."""
    rows = [{"address": address, "ticks": [tick.isoformat() for tick in ticks]} for address, ticks in plans.items()]
    return {"ticks": json.dumps(rows)}


def evaluate_schedules(
    catalog: Catalog, plans: Mapping[str, Sequence[datetime]], found: Sequence[Mapping[str, Any]], now: datetime
) -> list[ScheduleStatus]:
    """How the schedule of each dataset was kept, in loading order; with those that something else loads. Pure."""
    rows = {row["address"]: row for row in found}
    crons = schedules_of(catalog)
    statuses = []
    for dataset in catalog.datasets():
        own, makers = crons.get(dataset.address, ()), tuple(makers_of(catalog, dataset, crons))
        if not makers:
            continue
        ticks, row = plans.get(dataset.address, ()), rows.get(dataset.address)
        missed = find_missed(ticks, row, now) if row is not None else []
        last = find_last(ticks, row)
        statuses.append(
            ScheduleStatus(
                dataset,
                own,
                makers,
                min((next_tick(cron, now) for cron in own), default=None),
                last,
                row["last_load"] if row is not None and last is not None else None,
                tuple(reversed(missed)),
                find_streak(ticks, missed),
            )
        )
    return statuses


def find_last(ticks: Sequence[datetime], row: Mapping[str, Any] | None) -> datetime | None:
    """The last tick; None where the contract was applied after it, and no load was made for it before."""
    if not ticks or row is None or not row["applied_at"]:
        return ticks[-1] if ticks else None
    scheduled = (row["last_load"] or {}).get("scheduled_at")
    is_made = scheduled is not None and datetime.fromisoformat(scheduled) == ticks[-1]
    return ticks[-1] if is_made or ticks[-1] >= datetime.fromisoformat(row["applied_at"]) else None


def find_missed(ticks: Sequence[datetime], row: Mapping[str, Any], now: datetime) -> list[datetime]:
    """The ticks of the window that no load was made for, oldest first.

    None counts from before its contract was applied, nor the last one while a load waits or is about to be queued.
    """
    reached = set(row["reached"])
    applied = datetime.fromisoformat(row["applied_at"]) if row["applied_at"] else None
    missed = []
    for place, tick in enumerate(ticks, 1):
        waits = place == len(ticks) and (row["queued"] or now - tick < GRACE)
        is_counted = tick >= now - WINDOW and (applied is None or tick >= applied)
        if is_counted and place not in reached and not waits:
            missed.append(tick)
    return missed


def find_streak(ticks: Sequence[datetime], missed: Sequence[datetime]) -> datetime | None:
    """The first of the missed ticks that follow each other up to the last tick; None where that is not missed."""
    since = None
    for tick in reversed(ticks):
        if tick not in missed:
            break
        since = tick
    return since


def makers_of(catalog: Catalog, dataset: Dataset, crons: Mapping[str, object]) -> Iterator[str]:
    """What makes loads of a dataset without being asked, in a word each."""
    if dataset.input is None or catalog.product_of(dataset).status == "retired":
        return
    if dataset.address in crons:
        yield "schedule"
    if dataset.input.watch:
        yield "watch"
    if dataset.input.fed.pushed:
        yield "events"
    if dataset.input.fed.derived:
        yield "derived"
