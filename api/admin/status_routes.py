"""How datasets, workers and schedules stand, and what needs somebody; for operators."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admin.parameters import admit_reader
from api.context import Context
from api.database.rows import fetch
from api.http.responses import READ, answer_fresh
from api.metadata.dataset_status import read_timestamp, write_timestamp
from catalog.status.attention import Incident, find_incidents
from catalog.status.dataset_status import DatasetStatus, describe_lag, evaluate_statuses
from catalog.status.ledger import LEDGER, ledger_values, parse_ledger
from catalog.status.schedules import TICKS, ScheduleStatus, evaluate_schedules, plan_ticks, tick_values

router = APIRouter()
MOMENTS = ("started_at", "finished_at", "scheduled_at", "last_heartbeat", "ended_at")


@router.api_route("/operations/status", methods=READ)
async def get_status(request: Request) -> Response:
    """How every dataset stands, which workers are alive, and what needs somebody."""
    context = await admit_reader(request)
    now = datetime.now(UTC)
    ((text,),) = await fetch(context.read_connections, LEDGER, ledger_values(context.catalog))
    schedules = await read_schedules(context, now)

    def describe() -> Response:
        return answer_fresh(request, describe_status(context, text, schedules, now))

    # In a thread: what hundreds of datasets have to say takes its time, and others are answered meanwhile.
    return await asyncio.to_thread(describe)


@router.api_route("/operations/schedules", methods=READ)
async def get_schedules(request: Request) -> Response:
    """What makes loads without being asked, and how the schedules were kept."""
    context = await admit_reader(request)
    schedules = await read_schedules(context, datetime.now(UTC))

    def describe() -> Response:
        return answer_fresh(request, orjson.dumps({"data": [describe_schedule(each) for each in schedules]}))

    return await asyncio.to_thread(describe)


async def read_schedules(context: Context, now: datetime) -> list[ScheduleStatus]:
    """How the schedules were kept, in one statement."""
    plans = await asyncio.to_thread(plan_ticks, context.catalog, now)
    ((text,),) = await fetch(context.read_connections, TICKS, tick_values(plans))
    return await asyncio.to_thread(lambda: evaluate_schedules(context.catalog, plans, json.loads(text), now))


def describe_status(context: Context, text: bytes, schedules: list[ScheduleStatus], now: datetime) -> bytes:
    """The whole answer."""
    ledger = parse_ledger(text)
    statuses = evaluate_statuses(context.catalog, ledger, now)
    incidents = find_incidents(context.catalog, statuses, schedules, ledger, now)
    answer = {
        "data": [describe_dataset(status, now) for status in statuses],
        "workers": [in_moments(worker) for worker in ledger["workers"]],
        "attention": [describe_incident(incident) for incident in incidents],
    }
    return orjson.dumps(answer)


def describe_dataset(status: DatasetStatus, now: datetime) -> dict[str, object]:
    """How one dataset stands; nulls and noughts where it is not migrated."""
    facts, fresh = status.facts or {}, status.freshness
    return {
        **status.dataset.place,
        "version": status.version,
        "revision": facts.get("revision"),
        "record_count": facts.get("record_count"),
        "published_at": write_timestamp(read_timestamp(facts.get("published_at"))),
        "freshness": {
            "fresh": fresh["fresh"],
            "latency_seconds": fresh["latency_seconds"],
            "late_seconds": fresh["late_seconds"],
            "current_at": write_timestamp(fresh["current_at"]),
            "newest_at": write_timestamp(fresh["newest"]),
            "end_of_data": write_timestamp(fresh["end_of_data"]),
        },
        "next_load_at": write_timestamp(status.next_load_at),
        "last_load": in_moments(facts.get("last_load")),
        "last_failed": in_moments(facts.get("failed")),
        "last_withheld": in_moments(facts.get("withheld")),
        "open_rejects": facts.get("open_rejects", 0),
        "added_rejects": (facts.get("added") or {}).get("records", 0),
        "waiting_events": facts.get("waiting_events", 0),
        "queued_loads": facts.get("queued", 0),
        "running_loads": facts.get("running", 0),
        "lag": show_lag(facts.get("lag"), now),
    }


def show_lag(facts: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """How far a stream is behind; None of what is no stream."""
    lag = describe_lag(facts, now)
    return None if lag is None else lag | {"measured_at": write_timestamp(lag["measured_at"])}


def describe_schedule(status: ScheduleStatus) -> dict[str, object]:
    """What makes loads of one dataset."""
    return {
        **status.dataset.place,
        "made_by": list(status.makers),
        "schedules": list(status.crons),
        "timezone": "UTC" if status.crons else None,
        "next_tick": write_timestamp(status.next_tick),
        "last_tick": write_timestamp(status.last_tick),
        "last_load": in_moments(status.last_load),
        "missed_ticks": [write_timestamp(tick) for tick in status.missed],
    }


def describe_incident(incident: Incident) -> dict[str, object]:
    """One thing that needs somebody."""
    nowhere = {"product": None, "major": None, "dataset": None}
    return {
        "kind": incident.kind,
        **(incident.dataset.place if incident.dataset is not None else nowhere),
        "since": write_timestamp(incident.since),
        "load_id": incident.load_id,
        "message": incident.message,
        "next": incident.next,
    }


def in_moments(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Facts of the ledger, their moments as RFC 3339 has them."""
    if facts is None:
        return None
    return {
        name: write_timestamp(read_timestamp(value)) if name in MOMENTS else value for name, value in facts.items()
    }
