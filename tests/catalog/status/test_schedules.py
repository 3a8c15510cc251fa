"""Which ticks of a schedule were missed, at a given moment, by the loads that the ledger has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from catalog.status.attention import Incident, find_incidents
from catalog.status.dataset_status import evaluate_statuses
from catalog.status.ledger import LEDGER, ledger_values, parse_ledger
from catalog.status.schedules import (
    TICKS,
    TICKS_MAXIMUM,
    ScheduleStatus,
    evaluate_schedules,
    plan_ticks,
    tick_values,
    ticks_before,
)
from tests.support.lab import Lab
from tests.support.people import HOURLY, SLA

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
INSERT = (
    "INSERT INTO decant.loads (dataset_id, kind, status, scheduled_at, started_at)"
    " VALUES (1, 'ingest', %s, %s, %s) RETURNING id"
)


def at(hour: int, minute: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def ask(lab: Lab, now: datetime = NOW) -> tuple[ScheduleStatus, list[Incident]]:
    """How the schedule of the only dataset was kept, and what needs somebody then."""
    plans = plan_ticks(lab.catalog, now)
    with psycopg.connect(lab.urls.read) as connection:

        def read(statement: str, values: dict[str, Any]) -> Any:
            row = connection.execute(statement.encode(), values).fetchone()
            assert row is not None
            return row[0]

        (status,) = evaluate_schedules(lab.catalog, plans, json.loads(read(TICKS, tick_values(plans))), now)
        ledger = parse_ledger(read(LEDGER, ledger_values(lab.catalog)))
    statuses = evaluate_statuses(lab.catalog, ledger, now)
    return status, find_incidents(lab.catalog, statuses, [status], ledger, now)


@pytest.fixture
def hourly(make_lab: Callable[..., Lab]) -> Lab:
    """A dataset that an hourly schedule loads, since six this morning, with a worker."""
    lab = make_lab(HOURLY)
    lab.rows("UPDATE decant.contracts SET applied_at = %s RETURNING 1", at(6))
    lab.rows(
        "INSERT INTO decant.workers (host, concurrency, seen_at) VALUES ('h', 1, now() + interval '1 h') RETURNING 1"
    )
    return lab


def test_a_load_belongs_to_its_tick_and_to_the_one_before_its_start(hourly: Lab) -> None:
    status, _ = ask(hourly)
    assert status.missed == tuple(at(hour) for hour in range(12, 5, -1)), "since the contract was applied"
    for started in ((None, at(7, 59)), (at(9), at(9, 1)), (at(10), at(11, 10))):
        hourly.rows(INSERT, "published", *started)
    status, _ = ask(hourly)
    assert status.missed == (at(12), at(8), at(6))
    assert (status.last_tick, status.next_tick, status.last_load) == (at(12), at(13), None)


def test_a_schedule_that_starts_no_load_is_one_incident_since_the_first_tick_in_a_row(hourly: Lab) -> None:
    hourly.rows(INSERT, "published", at(9), at(9, 1))
    status, (incident,) = ask(hourly)
    assert (incident.kind, incident.since, incident.next) == ("schedule_missed", at(10), "GET /operations/schedules")
    assert incident.message == "The schedule started no load. Nothing is published yet."
    hourly.rows("UPDATE decant.datasets SET contract_sha256 = 'x' RETURNING 1")
    (incident,) = ask(hourly)[1]
    assert incident.next == "decant migrate"
    hourly.rows("UPDATE decant.workers SET ended_at = now() RETURNING 1")
    assert [each.kind for each in ask(hourly)[1]] == ["no_worker"], "that says why"
    assert status.missed[:3] == (at(12), at(11), at(10))


def test_the_last_tick_is_not_missed_while_its_load_waits_or_is_about_to_be_queued(hourly: Lab) -> None:
    assert ask(hourly, at(12, 0) + timedelta(seconds=59))[0].missed[0] == at(11)
    assert ask(hourly, at(12, 0) + timedelta(seconds=60))[0].missed[0] == at(12)
    hourly.rows(INSERT, "queued", None, at(5))
    status, incidents = ask(hourly)
    assert (status.missed[0], incidents) == (at(11), []), "queued before, and not begun"
    ((load,),) = hourly.rows(INSERT, "failed", at(12), at(12, 1))
    status, incidents = ask(hourly)
    assert status.last_load is not None
    assert (status.last_load["id"], status.last_load["status"]) == (load, "failed")
    assert [each.kind for each in incidents] == ["load_failed"]


def test_a_tick_before_the_week_is_the_last_one_and_never_missed(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(HOURLY.replace("0 * * * *", "0 6 1 * *"))
    lab.rows("UPDATE decant.contracts SET applied_at = '2025-01-01' RETURNING 1")
    status, _ = ask(lab)
    assert (status.last_tick, status.next_tick, status.missed) == (
        at(6, day=1),
        datetime(2026, 4, 1, 6, tzinfo=UTC),
        (),
    )


def test_a_tick_before_the_contract_was_applied_never_was_unless_a_load_was_made_for_it(hourly: Lab) -> None:
    hourly.rows("UPDATE decant.contracts SET applied_at = %s RETURNING 1", at(12, 1))
    hourly.rows(INSERT, "published", None, at(12, 5))
    status, _ = ask(hourly)
    assert (status.last_tick, status.last_load, status.missed, status.next_tick) == (None, None, (), at(13))
    hourly.rows(INSERT, "published", at(12), at(12, 6))
    status, _ = ask(hourly)
    assert (status.last_tick, status.last_load is None) == (at(12), False), "applied again since"


def test_several_schedules_of_a_dataset_tick_together(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(HOURLY + SLA.replace("\nslaProperties:\n", "").replace("0 6 * * *", "30 11 * * *"))
    lab.rows("UPDATE decant.contracts SET applied_at = %s RETURNING 1", at(10))
    status, _ = ask(lab)
    assert status.crons == ("0 * * * *", "30 11 * * *")
    assert status.missed == (at(12), at(11, 30), at(11), at(10))


def test_ticks_are_those_of_a_week_and_at_most_a_hundred() -> None:
    assert len(list(ticks_before("* * * * *", NOW))) == TICKS_MAXIMUM
    assert list(ticks_before("0 6 * * *", NOW)) == [at(6, day=day) for day in range(10, 3, -1)]
