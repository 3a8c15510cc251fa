"""Status and schedules over HTTP: what the command line says too, and one entry for each incident."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.admin import status_routes
from catalog.model.record_key import hash_key
from tests.support.command_line import run
from tests.support.keys import key_of
from tests.support.lab import PEOPLE, Lab
from tests.support.people import DERIVED, GOOD, HOURLY, TOWN, WATCHED

STATUS, SCHEDULES = "/operations/status", "/operations/schedules"
LOAD = (
    "INSERT INTO decant.loads (dataset_id, kind, status, request, error_code, started_at, finished_at)"
    " VALUES (1, %s, %s, %s::jsonb, %s, now() - %s::interval, now() - %s::interval) RETURNING id"
)
ALIVE = "INSERT INTO decant.workers (host, concurrency, seen_at) VALUES ('h', 2, now() - %s::interval) RETURNING id"


def ask(lab: Lab, path: str = STATUS) -> Any:
    """What the service says to an operator."""
    with lab.serve() as client:
        answer = client.get(path, headers=key_of(lab, "ops:read"))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    return answer.json()


def note_load(
    lab: Lab, status: str, age: str = "1 hour", kind: str = "ingest", request: Any = None, code: str | None = None
) -> int:
    """The id of a load that ended so."""
    document = None if request is None else json.dumps(request)
    ((load_id,),) = lab.rows(LOAD, kind, status, document, code, age, age)
    return int(load_id)


def attention(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(lab)["attention"]
    return found


def test_the_service_says_what_the_command_line_says(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(TOWN)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n2,,x,\n3,Cy,41,\n")
    lab.rows(ALIVE, "-1 minute")
    said = {row["dataset"]: row for row in json.loads(run(lab, "status", "--json").stdout)}
    data = ask(lab)["data"]
    assert [row["dataset"] for row in data] == ["people", "pets"]
    for row in data:
        own = said[f"people@1.{row['dataset']}"]
        names = {"record_count": "records", "open_rejects": "open_rejects", "revision": "revision"}
        assert {name: row[name] for name in names} == {name: own[old] for name, old in names.items()}
        assert row["freshness"]["fresh"] is own["fresh"]
        assert row["freshness"]["late_seconds"] == own["late_seconds"]
        assert {datetime.fromisoformat(each["next_load_at"]).hour for each in (row, own)} == {6}
    people, pets = data
    assert (people["added_rejects"], people["last_load"]["status"], people["last_load"]["id"]) == (1, "published", 1)
    assert people["published_at"].endswith("Z")
    assert (pets["revision"], pets["last_load"], pets["last_failed"], pets["last_withheld"]) == (0, None, None, None)


def test_a_failure_is_one_incident_until_a_load_ends_well(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    lab.ingest("people.people", GOOD)
    assert attention(lab) == []
    first = note_load(lab, "failed", "3 hours", code="source_missing")
    last = note_load(lab, "failed", "1 hour", code="source_missing")
    (incident,) = attention(lab)
    since = datetime.fromisoformat(incident.pop("since"))
    assert abs(datetime.now(UTC) - timedelta(hours=3) - since) < timedelta(minutes=1), "since the first of them"
    assert first < last
    assert incident == {
        "kind": "load_failed",
        "product": "people",
        "major": 1,
        "dataset": "people",
        "load_id": last,
        "message": f"Load {last} failed (source_missing). Readers keep revision 1.",
        "next": f"GET /operations/loads/{last}",
    }
    assert ask(lab)["data"][0]["last_failed"]["error_code"] == "source_missing"
    note_load(lab, "published", kind="prune")
    assert [each["load_id"] for each in attention(lab)] == [last], "what prunes brings no data"
    note_load(lab, "unchanged")
    assert attention(lab) == []
    assert ask(lab)["data"][0]["last_failed"]["id"] == last


@pytest.mark.slow
def test_a_withheld_load_waits_for_a_decision_and_overtakes_what_failed_before(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("maxRejected, value: 100", "maxRejected, value: 10"))
    lab.ingest("people.people", GOOD)
    note_load(lab, "failed")
    withheld = lab.ingest("people.people", GOOD + "3,,x,\n4,,x,\n").load_id
    (incident,) = attention(lab)
    assert (incident["kind"], incident["load_id"]) == ("load_withheld", withheld)
    assert incident["next"] == f"POST /operations/loads/{withheld}/publish"
    measured = "maxRejected measured 50 %, must be ≤ 10 %"
    assert incident["message"] == f"Load {withheld} is withheld: {measured}. Readers keep revision 1."
    later = note_load(lab, "failed", "-1 minute", code="source_missing")
    assert [(each["kind"], each["load_id"]) for each in attention(lab)] == [
        ("load_failed", later),
        ("load_withheld", withheld),
    ]
    lab.ingest("people.people", GOOD.replace("Ann", "Eve"))
    assert attention(lab) == []


@pytest.mark.slow
def test_each_erasure_that_failed_is_an_incident_of_its_own(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    lab.ingest("people.people", GOOD)
    dataset = lab.dataset("people.people")
    erased = note_load(lab, "failed", kind="prune", request={"erase": {"key": ["1"]}}, code="busy")
    replay = note_load(lab, "failed", kind="replay", request={"replay": {}}, code="busy")
    note_load(lab, "published", kind="prune", request={"erase": {"key_sha256": hash_key(dataset, ["2"])}})
    note_load(lab, "published", kind="prune", request={"prune": {"element": "born", "before": "2000-01-01"}})
    assert [each["message"].split(" (")[0] for each in attention(lab)] == [
        f"The replay {replay} failed",
        f"The erasure {erased} failed",
    ]
    note_load(lab, "unchanged")
    note_load(lab, "unchanged", kind="prune", request={"erase": {"key_sha256": hash_key(dataset, ["1"])}})
    assert attention(lab) == []
    # The replay of a whole batch brings what failed to come; one of rejected records does not.
    failed = note_load(lab, "failed")
    note_load(lab, "published", kind="replay", request={"replay": {}})
    assert [each["load_id"] for each in attention(lab)] == [failed]
    note_load(lab, "published", kind="replay", request={"replay": {"load": failed}})
    assert attention(lab) == []


def test_what_is_late_has_an_entry_unless_another_says_why(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("roles:", "slaProperties:\n  - {property: latency, value: 2, unit: d}\nroles:"))
    (never,) = attention(lab)
    assert (never["kind"], never["since"], never["message"]) == ("late", None, "Nothing is published yet.")
    lab.ingest("people.people", GOOD)
    assert attention(lab) == []
    lab.rows("UPDATE decant.input_states SET last_success = now() - interval '5 days' RETURNING 1")
    (late,) = attention(lab)
    assert (late["kind"], late["message"]) == ("late", "Readers keep revision 1, late by 3 d.")
    failed = note_load(lab, "failed", code="source_missing")
    (incident,) = attention(lab)
    assert incident["message"] == f"Load {failed} failed (source_missing). Readers keep revision 1, late by 3 d."


@pytest.mark.slow
def test_quarantine_grows_with_the_newest_load_alone_and_no_value_is_told(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    lab.ingest("people.people", GOOD + "3,,30,\n4,Di,secret,\n")
    (incident,) = attention(lab)
    assert (incident["kind"], incident["next"]) == ("quarantine_growing", "GET /operations/rejects?load=1")
    assert incident["message"] == "Load 1 added 2 rejected records to quarantine; 2 are open."
    lab.ingest("people.people", GOOD + "3,,30,\n4,Di,secret,\n5,Ed,1,\n")
    assert attention(lab) == [], "the same records are no new ones"
    assert [ask(lab)["data"][0][name] for name in ("open_rejects", "added_rejects")] == [2, 0]


def test_what_waits_for_a_worker_is_told_until_one_is_alive(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    lab.ingest("people.people", GOOD)
    lab.rows("INSERT INTO decant.loads (dataset_id, kind) VALUES (1, 'ingest') RETURNING 1")
    (incident,) = attention(lab)
    assert [incident[name] for name in ("kind", "dataset", "load_id", "next")] == [
        "no_worker", None, None, "decant worker",
    ]  # fmt: skip
    assert incident["message"] == "No worker is alive, and 1 load waits for one."
    lab.rows(ALIVE, "11 seconds")
    body = ask(lab)
    assert [worker["alive"] for worker in body["workers"]] == [False]
    assert body["attention"][0]["since"] == body["workers"][0]["last_heartbeat"]
    lab.rows(ALIVE, "-1 minute")
    body = ask(lab)
    assert [(worker["alive"], worker["host"]) for worker in body["workers"]] == [(True, "h"), (False, "h")]
    assert body["attention"] == []
    assert body["data"][0]["queued_loads"] == 1
    lab.rows("UPDATE decant.workers SET ended_at = now() RETURNING 1")
    assert [each["kind"] for each in attention(lab)] == ["no_worker"]


def test_schedules_are_told_with_their_ticks(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(HOURLY)
    (row,) = ask(lab, SCHEDULES)["data"]
    assert (row["dataset"], row["schedules"], row["made_by"]) == ("people", ["0 * * * *"], ["schedule"])
    assert (row["timezone"], row["last_load"], row["missed_ticks"]) == ("UTC", None, [])
    assert row["last_tick"] is None, "the contract was applied after it"
    assert [each["message"] for each in attention(lab)] == [
        "No worker is alive: the schedules of 1 dataset start no load."
    ]
    lab.rows("UPDATE decant.contracts SET applied_at = now() - interval '3 hours' RETURNING 1")
    (row,) = ask(lab, SCHEDULES)["data"]
    ticks = [datetime.fromisoformat(row[name]) for name in ("last_tick", "next_tick")]
    assert ticks[1] - ticks[0] == timedelta(hours=1)


@pytest.mark.parametrize(("contract", "made_by"), [(WATCHED, [["watch"]]), (DERIVED, [["derived"], ["derived"]])])
def test_what_else_makes_loads_is_said_in_a_word(
    make_lab: Callable[..., Lab], contract: str, made_by: list[list[str]]
) -> None:
    rows = ask(make_lab(contract), SCHEDULES)["data"]
    assert [row["made_by"] for row in rows] == made_by
    assert {(row["next_tick"], row["last_tick"], row["timezone"]) for row in rows} == {(None, None, None)}


def many(number: int) -> str:
    """A contract with so many datasets, all of them scheduled."""
    one = PEOPLE[PEOPLE.index("  - name: people") : PEOPLE.index("roles:")]
    sets = "".join(one.replace("name: people", f"name: set{n}") for n in range(number))
    return HOURLY.replace(one, sets)


@pytest.mark.slow
def test_any_number_of_datasets_costs_two_statements(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    original = status_routes.fetch

    async def fetch(*arguments: Any) -> Any:
        counts.append(arguments[1])
        return await original(*arguments)

    monkeypatch.setattr(status_routes, "fetch", fetch)
    for number in (1, 20):
        counts.clear()
        assert len(ask(make_lab(many(number)))["data"]) == number
        assert len(counts) == 2


@pytest.mark.parametrize("path", [STATUS, SCHEDULES])
def test_who_may_not_ask_and_what_is_no_question_is_refused(lab: Lab, path: str) -> None:
    serving: AbstractContextManager[httpx.Client] = lab.serve()
    with serving as client:
        assert client.get(path).status_code == 401
        few = client.get(path, headers=key_of(lab, "people:read"))
        assert (few.status_code, few.json()["code"]) == (403, "insufficient_scope")
        wrong = client.get(f"{path}?product=people", headers=key_of(lab, "ops:read"))
        assert (wrong.status_code, wrong.json()["code"]) == (422, "unknown_parameter")
        assert client.post(path, headers=key_of(lab, "ops:read")).status_code == 405
