"""Dismissals over HTTP: rejected records chosen by reason, by id or by load, and closed by a worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ingest.loading.run_queued import run_queued
from ingest.worker.dispatch import Dispatcher
from runtime.postgres.database import make_engine
from tests.support.command_line import run
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.queued_loads import run_worker
from tests.support.replays import HEAD, STRICT, replay

PLACE = {"product": "people", "major": 1, "dataset": "people"}
BODY = PLACE | {"note": "the source will not correct them"}
TWO = STRICT.replace("mode: snapshot", "mode: upsert").replace(
    "roles:",
    """  - name: others
    customProperties:
      - {property: input, value: {server: here, path: others.csv}}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
roles:""",
)
CHOSEN: list[tuple[dict[str, Any], list[int]]] = [
    ({"rule": "required"}, [2, 3]),
    ({"rule": "required", "property": "name"}, [2, 3]),
    ({"rule": "required", "property": "age"}, []),
    ({"rule": "maximum"}, [1]),
    ({"ids": [4, 1]}, [1, 4]),
    ({"load": 2}, [3, 4]),
]
STATES = "SELECT id, state, closed_by, closed_at IS NOT NULL FROM decant.rejected_records ORDER BY id"


@pytest.fixture
def rejected(make_lab: Callable[..., Lab]) -> Lab:
    """Rejected records 1 to 4 of people: two with a wrong age, two without a name; 5 of others."""
    lab = make_lab(TWO)
    lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n3,,1,\n")
    lab.ingest("people.people", HEAD + "4,,2,\n5,Cy,x,\n")
    lab.ingest("people.others", "id\nx\n", "others.csv")
    return lab


@pytest.fixture
def client(rejected: Lab) -> Iterator[httpx.Client]:
    """A client of the running service, with an operator's key."""
    with rejected.serve() as client:
        client.headers.update(key_of(rejected, "ops:read", "ops:write"))
        yield client


def dismiss(lab: Lab, client: httpx.Client, **chosen: Any) -> dict[str, Any]:
    """The load that dismissed these, after a worker ran it."""
    answer = client.post("/operations/dismissals", json=BODY | chosen)
    assert answer.status_code == 202, answer.text
    (queued,) = answer.json()["data"]
    assert (queued["kind"], queued["status"]) == ("dismiss", "queued")
    assert answer.headers["Location"] == queued["url"] == f"/operations/loads/{queued['id']}"
    assert queued["id"] in Dispatcher(make_engine(lab.urls.ingest), lab.catalog).sweep().deferred
    assert run_queued(lab.loader(), queued["id"]) == "unchanged"
    found: dict[str, Any] = client.get(queued["url"]).json()["data"]
    return found


def closed(lab: Lab) -> list[int]:
    """The ids of the dismissed records."""
    return [row[0] for row in lab.rows(STATES) if row[1] == "dismissed"]


@pytest.mark.slow
def test_records_are_chosen_by_reason_by_id_or_by_load(rejected: Lab, client: httpx.Client) -> None:
    for chosen, ids in CHOSEN:
        load = dismiss(rejected, client, **chosen)
        assert closed(rejected) == ids, chosen
        assert load["notes"] == [f"dismissed: {len(ids)} rejected records"]
        assert (load["status"], load["revision"]) == ("unchanged", None)
        assert load["request"] == {"dismiss": chosen | {"note": BODY["note"]}}
        rejected.rows("UPDATE decant.rejected_records SET state = 'open' RETURNING 1")


@pytest.mark.slow
def test_who_dismissed_which_records_and_why_is_on_record(rejected: Lab, client: httpx.Client) -> None:
    queued = client.post("/operations/dismissals", json=BODY | {"rule": "maximum"}).json()["data"][0]
    assert "load_unchanged" in run_worker(rejected)
    load = client.get(queued["url"]).json()["data"]
    by = load["requested_by"]
    assert by.startswith("key ")
    assert rejected.rows(STATES)[0] == (1, "dismissed", by, True)
    asked, done = rejected.rows("SELECT principal, operation, records, facts FROM decant.audit_log ORDER BY id")
    request = {"dismiss": {"rule": "maximum", "note": BODY["note"]}}
    assert asked == (by.removeprefix("key "), "POST /operations/dismissals", None, {"load": load["id"]} | request)
    assert done == (by.removeprefix("key "), "dismiss", 1, {"load": load["id"]} | request)
    (entry,) = client.get(f"/operations/audit?principal={asked[0]}&operation=dismiss").json()["data"]
    assert entry["records"] == 1
    assert "70" not in str(asked) + str(done)


def test_a_record_that_is_closed_already_is_left_alone_and_counted(rejected: Lab, client: httpx.Client) -> None:
    first = dismiss(rejected, client, ids=[2])
    rejected.ingest("people.people", HEAD + "2,Bo,7,\n")  # a better record of the key
    before = rejected.rows(STATES)
    assert [row[1] for row in before[:3]] == ["superseded", "dismissed", "open"]
    second = dismiss(rejected, client, ids=[1, 2, 3])
    assert second["notes"] == ["dismissed: 1 rejected records; 2 were no longer open"]
    assert rejected.rows(STATES)[:2] == before[:2]
    assert second["id"] > first["id"]
    assert replay(rejected).outcome.raw == 1  # the one that is open


@pytest.mark.slow
def test_a_dismissal_does_not_hide_how_the_last_batch_fared(rejected: Lab, client: httpx.Client) -> None:
    rejected.ingest("people.people", "nothing,like,it\n1,2,3\n")
    dismiss(rejected, client, rule="required")
    shown = client.get("/data/people/v1/people").json()["data"]
    assert shown["quality"]["last_load"] == "failed", shown
    status = run(rejected, "status", "people.people", "--json", DECANT_DATABASE_URL=rejected.urls.owner)
    assert json.loads(status.stdout)[0]["last_load"] == "failed", status.stderr


LONG = "x" * 1001
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "/rule"),
    ({"property": "name"}, "/property"),
    ({"rule": "required", "ids": [1]}, "/ids"),
    ({"rule": "required", "load": 1}, "/load"),
    ({"ids": [1], "load": 1}, "/load"),
    ({"rule": ""}, "/rule"),
    ({"rule": 7}, "/rule"),
    ({"rule": "a\u202eb"}, "/rule"),
    ({"rule": "required", "property": LONG}, "/property"),
    ({"ids": []}, "/ids"),
    ({"ids": 1}, "/ids"),
    ({"ids": [0]}, "/ids"),
    ({"ids": [True]}, "/ids"),
    ({"ids": [1.0]}, "/ids"),
    ({"ids": ["1"]}, "/ids"),
    ({"ids": [2**63]}, "/ids"),
    ({"ids": [1, 1]}, "/ids"),
    ({"ids": list(range(1, 1002))}, "/ids"),
    ({"ids": [1, 99]}, "/ids/1"),  # there is none
    ({"ids": [5]}, "/ids/0"),  # another dataset's
    ({"load": 99}, "/load"),
    ({"load": 3}, "/load"),  # another dataset's
    ({"load": True}, "/load"),
    ({"load": 2**63}, "/load"),
    ({"rule": "required", "note": None}, "/note"),
    ({"rule": "required", "note": " "}, "/note"),
    ({"rule": "required", "note": LONG}, "/note"),
    ({"rule": "required", "note": "a\nb"}, "/note"),
    ({"rule": "required", "note": "\u001b[2J"}, "/note"),
    ({"rule": "required", "note": 7}, "/note"),
    ({"rule": "required", "dataset": None}, "/dataset"),
    ({"rule": "required", "dataset": "nothing"}, "/dataset"),
    ({"rule": "required", "product": "nobody"}, "/product"),
    ({"rule": "required", "major": 9}, "/major"),
    ({"rule": "required", "all": True}, "/all"),
]


@pytest.mark.slow
def test_a_choice_that_means_nothing_is_refused_and_a_repeated_request_queues_once(
    rejected: Lab, client: httpx.Client
) -> None:
    for changes, pointer in REFUSED:
        answer = client.post("/operations/dismissals", json=BODY | changes)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid_value"), (changes, problem)
        assert problem["errors"][0]["pointer"] == pointer, (changes, problem)
    reader = key_of(rejected, "ops:read", "people:write")
    denied = client.post("/operations/dismissals", json=BODY | {"rule": "required"}, headers=reader)
    assert (denied.status_code, denied.json()["code"]) == (403, "insufficient_scope")
    assert rejected.rows("SELECT count(*) FROM decant.loads WHERE status = 'queued'") == [(0,)]
    assert closed(rejected) == []
    once = {"Idempotency-Key": '"once"'}
    body = BODY | {"rule": "required"}
    answers = [client.post("/operations/dismissals", json=body, headers=once) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    other = client.post("/operations/dismissals", json=body | {"rule": "type"}, headers=once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert rejected.rows("SELECT count(*) FROM decant.loads WHERE kind = 'dismiss'") == [(1,)]


@pytest.mark.slow
def test_a_dataset_that_has_no_input_any_more_can_be_tidied_up(rejected: Lab) -> None:
    for file in rejected.settings.contracts.iterdir():
        text = file.read_text()
        at = text.index("      - property: input")
        text = text[:at] + text[text.index("      - {property: maxDeleted", at) :]
        file.write_text(text.replace("version: 1.0.0", "version: 1.0.1"))
    lab = Lab(rejected.settings, rejected.urls)
    lab.migrate()
    assert lab.dataset("people.people").input is None
    with lab.serve() as client:
        client.headers.update(key_of(lab, "ops:read", "ops:write"))
        assert dismiss(lab, client, rule="maximum")["notes"] == ["dismissed: 1 rejected records"]


@pytest.mark.slow
def test_a_form_of_choice_that_this_version_does_not_know_fails_its_load(rejected: Lab, client: httpx.Client) -> None:
    load = client.post("/operations/dismissals", json=BODY | {"rule": "required"}).json()["data"][0]
    rejected.rows(
        'UPDATE decant.loads SET request = \'{"dismiss": {"age": 3}}\' WHERE id = %s RETURNING 1', load["id"]
    )
    assert run_queued(rejected.loader(), load["id"]) in {"retry", "failed"}
    assert closed(rejected) == []
