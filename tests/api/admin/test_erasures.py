"""Erasures over HTTP: one key goes for good, and is written down nowhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from catalog.model.load_request import Erase, read_request, show_request
from catalog.model.record_key import hash_key
from ingest.loading.run_queued import run_queued
from ingest.worker.dispatch import Dispatcher
from runtime.postgres.database import make_engine
from tests.support.command_line import run
from tests.support.keys import key_of
from tests.support.lab import PEOPLE, Lab
from tests.support.people import DERIVED
from tests.support.queued_loads import run_worker
from tests.support.replays import HEAD

PLACE = {"product": "people", "major": 1, "dataset": "people"}
SECRET = "4711222"
TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname IN ('decant', 'decant_queue', 'decant_staging', 'people_v1')
"""
PAIRS = PEOPLE.replace("logicalType: string, required: true", "logicalType: string, primaryKey: true")


@pytest.fixture
def people(make_lab: Callable[..., Lab]) -> Lab:
    """Two batches, with one person in current, history and quarantine."""
    lab = make_lab(PEOPLE)
    for age in ("1", "2", "wrong"):
        lab.ingest("people.people", HEAD + f"1,Ann,1,\n{SECRET},Zoe,{age},\n")
    return lab


@pytest.fixture
def client(people: Lab) -> Iterator[httpx.Client]:
    """A client of the running service, with an operator's key."""
    with people.serve() as client:
        client.headers.update(key_of(people, "ops:read", "ops:write"))
        yield client


def erase(client: httpx.Client, *key: Any, **more: Any) -> httpx.Response:
    """The answer to a request for an erasure."""
    return client.post("/operations/erasures", json=PLACE | {"key": list(key)} | more)


def mentions(lab: Lab, text: str) -> list[str]:
    """The tables that hold a text anywhere."""
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        tables = [row[0] for row in connection.execute(TABLES.encode())]
        holds = "SELECT EXISTS (SELECT FROM {} AS t WHERE to_jsonb(t)::text LIKE %s)"
        found = (connection.execute(holds.format(name).encode(), (f"%{text}%",)).fetchone() for name in tables)
        return sorted(name for name, row in zip(tables, found, strict=True) if row and row[0])


@pytest.mark.slow
def test_a_key_that_a_worker_erased_is_written_down_nowhere(people: Lab, client: httpx.Client) -> None:
    digest = hash_key(people.dataset("people.people"), [SECRET])
    answer = client.post(
        "/operations/erasures", json=PLACE | {"key": [SECRET]}, headers={"Idempotency-Key": '"once"'}
    )
    assert answer.status_code == 202, answer.text
    (queued,) = answer.json()["data"]
    assert (queued["kind"], queued["status"], answer.headers["Location"]) == ("prune", "queued", queued["url"])
    # Until it is done, the ledger alone holds the key, and shows it to nobody.
    assert mentions(people, SECRET) == [
        "decant.loads", "decant.rejected_records", "people_v1.people", "people_v1.people_history",
    ]  # fmt: skip
    waiting = client.get(queued["url"])
    assert waiting.json()["data"]["request"] == {"erase": {"key_sha256": digest}}
    shown = run(people, "loads", "show", str(queued["id"]), DECANT_DATABASE_URL=people.urls.owner)
    assert (digest in shown.stdout, shown.returncode) == (True, 0), shown.stderr
    again = client.post("/operations/erasures", json=PLACE | {"key": [SECRET]}, headers={"Idempotency-Key": '"once"'})
    assert again.json() == answer.json()
    log = run_worker(people)
    assert "load_published" in log
    done = client.get(queued["url"])
    load = done.json()["data"]
    assert (load["status"], load["deleted"], load["request"]) == ("published", 1, {"erase": {"key_sha256": digest}})
    assert load["notes"][0] == "erased: 1 current, 1 in history, 1 in quarantine, 3 raw batches rewritten"
    assert mentions(people, SECRET) == []
    assert all(SECRET not in text for text in (answer.text, waiting.text, shown.stdout, done.text, log))
    asked, ended = people.rows("SELECT principal, operation, records, facts FROM decant.audit_log ORDER BY id")
    by = load["requested_by"].removeprefix("key ")
    assert asked == (
        by,
        "POST /operations/erasures",
        None,
        {"load": queued["id"], "erase": {"key_sha256": digest}},
    )
    assert ended == (by, "erase", 1, {"load": queued["id"], "key_sha256": digest})
    assert client.get("/data/people/v1/people/records?at=1").status_code == 410


@pytest.mark.slow
def test_a_key_without_a_record_ends_its_load_which_says_so(people: Lab, client: httpx.Client) -> None:
    load = erase(client, "99").json()["data"][0]
    assert run_queued(people.loader(), load["id"]) == "unchanged"
    notes = client.get(load["url"]).json()["data"]["notes"]
    assert notes[0] == "erased: 0 current, 0 in history, 0 in quarantine, 0 raw batches rewritten"
    assert people.rows("SELECT records FROM decant.audit_log WHERE operation = 'erase'") == [(0,)]


@pytest.mark.slow
def test_an_erasure_that_fails_or_loses_its_workers_leaves_no_key(
    people: Lab, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = (erase(client, SECRET).json()["data"][0]["id"] for _ in range(2))

    def refuse(*_arguments: object, **_options: object) -> object:
        raise ValueError("nothing that is known")

    with monkeypatch.context() as patched:
        patched.setattr("ingest.loading.loader.withdraw", refuse)
        people.rows("UPDATE decant.loads SET attempt = 5, retry_at = now() WHERE id = %s RETURNING 1", first)
        assert run_queued(people.loader(), first) == "failed"
    people.rows("UPDATE decant.loads SET status = 'running', attempt = 25 WHERE id = %s RETURNING 1", second)
    assert Dispatcher(make_engine(people.urls.ingest), people.catalog).sweep().lost == [second]
    digest = hash_key(people.dataset("people.people"), [SECRET])
    kept = {"erase": {"key_sha256": digest}}
    assert people.rows("SELECT status, request FROM decant.loads WHERE kind = 'prune'") == [("failed", kept)] * 2
    assert SECRET not in caplog.text


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"key": None}, "/key"),
    ({"key": SECRET}, "/key"),
    ({"key": [4711222]}, "/key"),
    ({"key": []}, "/key"),
    ({"key": [SECRET, "2"]}, "/key"),
    ({"key": [SECRET + "x"]}, "/key"),
    ({"key": ["9" * 30]}, "/key"),
    ({"key": {"id": SECRET}}, "/key"),
    ({"dataset": None}, "/dataset"),
    ({"dataset": "nothing"}, "/dataset"),
    ({"product": "nobody"}, "/product"),
    ({"major": 2}, "/major"),
    ({"anyway": True}, "/anyway"),
]


@pytest.mark.slow
def test_a_key_that_is_none_of_the_datasets_is_refused_and_not_repeated(people: Lab, client: httpx.Client) -> None:
    for changes, pointer in REFUSED:
        answer = client.post("/operations/erasures", json=PLACE | {"key": [SECRET]} | changes)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid_value"), (changes, problem)
        assert problem["errors"][0]["pointer"] == pointer, (changes, problem)
        assert SECRET not in answer.text
    assert erase(client, "a\0").json()["code"] == "invalid_text"
    reader = key_of(people, "ops:read", "people:read", "keys:admin")
    denied = client.post("/operations/erasures", json=PLACE | {"key": [SECRET]}, headers=reader)
    assert (denied.status_code, denied.json()["code"]) == (403, "insufficient_scope")
    once = {"Idempotency-Key": '"once"'}
    keys = [client.post("/operations/erasures", json=PLACE | {"key": [key]}, headers=once) for key in ("98", "99")]
    assert [answer.status_code for answer in keys] == [202, 422]
    assert keys[1].json()["code"] == "idempotency_key_reused"
    assert people.rows("SELECT count(*) FROM decant.loads WHERE status = 'queued'") == [(1,)]


@pytest.mark.slow
def test_each_part_of_a_key_is_a_text_and_may_hold_commas_and_marks(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PAIRS)
    odd = "Zoe, \ue0f00041"  # what stands for another character where the ledger keeps texts
    lab.ingest("people.people", HEAD + f'1,"{odd}",1,\n1,"Zoe, A",1,\n2,Bo,1,\n')
    with lab.serve() as client:
        client.headers.update(key_of(lab, "ops:write"))
        assert erase(client, "1").status_code == 422
        load = erase(client, "1", odd).json()["data"][0]
        assert run_queued(lab.loader(), load["id"]) == "published"
    assert lab.rows("SELECT id, name FROM people_v1.people ORDER BY id") == [(1, "Zoe, A"), (2, "Bo")]


@pytest.mark.slow
def test_where_a_key_can_come_back_from_and_where_copies_are_is_said(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(DERIVED)
    lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,40,\n")
    lab.ingest("people.ages")
    with lab.serve() as client:
        client.headers.update(key_of(lab, "ops:read", "ops:write"))
        load = erase(client, "30", dataset="ages").json()["data"][0]
        assert run_queued(lab.loader(), load["id"]) == "published"
        notes = client.get(load["url"]).json()["data"]["notes"]
    assert "the dataset is derived: its next load can bring the key back from people" in notes
    assert any(note.endswith("copies until they are refreshed: people@1.oldest") for note in notes), notes
    assert lab.rows("SELECT age FROM people_v1.ages") == [(40,)]


def test_a_dataset_of_which_nothing_was_published_can_be_asked(lab: Lab) -> None:
    with lab.serve() as client:
        client.headers.update(key_of(lab, "ops:write"))
        load = erase(client, "1").json()["data"][0]
        assert run_queued(lab.loader(), load["id"]) == "unchanged"


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        (None, None),
        ({"replay": {"ids": [1]}}, {"replay": {"ids": [1]}}),
        ({"erase": {"key": ["1"], "key_sha256": "ab"}}, {"erase": {"key_sha256": "ab"}}),
        ({"erase": {"key": ["1"]}}, {"erase": {}}),
    ],
)
def test_a_request_is_shown_without_the_key(kept: dict[str, Any] | None, shown: dict[str, Any] | None) -> None:
    assert show_request(kept) == shown
    assert not isinstance(request := read_request(shown), Erase) or request.key is None
    assert read_request(kept).to_json() == kept
