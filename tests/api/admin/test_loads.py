"""Loads over HTTP: watched, filtered, queued, and refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from ingest.loading.run_queued import run_queued
from ingest.worker.dispatch import Dispatcher
from runtime.postgres.database import make_engine
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.people import DERIVED, GOOD


@contextmanager
def client_with(lab: Lab, *scopes: str) -> Iterator[httpx.Client]:
    key = make_key(lab, *scopes)
    with lab.serve() as client:
        client.headers["Authorization"] = f"Bearer {key}"
        yield client


@pytest.fixture
def loaded(make_lab: Callable[..., Lab]) -> Lab:
    """Three loads of people, with two rejected records in the last."""
    lab = make_lab(DERIVED)
    for text in (GOOD, GOOD, GOOD.replace("Ann", "Eve") + "3,,30,\n4,Di,x,\n"):
        lab.ingest("people.people", text)
    return lab


def test_loads_are_listed_newest_first_and_page_by_page(loaded: Lab) -> None:
    with client_with(loaded, "ops:read") as client:
        first = client.get("/operations/loads?limit=2&product=people").json()
        assert [load["id"] for load in first["data"]] == [3, 2]
        second = client.get(first["next"]).json()
        assert ([load["id"] for load in second["data"]], second["next"]) == ([1], None)
        load = first["data"][0]
        assert (load["status"], load["raw"], load["accepted"], load["rejected"]) == ("published", 4, 2, 2)
        unchanged = client.get("/operations/loads", params={"status": "unchanged"}).json()["data"]
        assert [load["id"] for load in unchanged] == [2]
        assert client.get("/operations/loads", params={"dataset": "ages"}).json() == {"data": [], "next": None}


def test_one_load_tells_its_steps_gates_and_reasons(loaded: Lab) -> None:
    with client_with(loaded, "ops:read") as client:
        load = client.get("/operations/loads/3").json()["data"]
    assert load["source"] == "people.csv"
    assert {reason["rule"] for reason in load["reasons"]} == {"required", "type"}
    assert [gate["passed"] for gate in load["gates"]] == [True] * 3
    assert set(load["step_seconds"]) >= {"land", "cut", "clean", "publish"}
    assert load["started_at"].endswith("Z")


def test_a_load_asked_for_over_http_is_run_by_a_worker(loaded: Lab) -> None:
    loaded.write("people.csv", GOOD.replace("Ann", "Anna"))
    with client_with(loaded, "ops:read", "ops:write") as client:
        answer = client.post("/operations/loads", json={"product": "people"})
        assert answer.status_code == 202
        (queued,) = answer.json()["data"]
        assert (queued["dataset"], queued["kind"], queued["status"]) == ("people", "ingest", "queued")
        assert answer.headers["Location"] == queued["url"]
        sweeper = Dispatcher(make_engine(loaded.urls.ingest), loaded.catalog)
        assert queued["id"] in sweeper.sweep().deferred
        assert run_queued(loaded.loader(), queued["id"]) == "published"
        load = client.get(queued["url"]).json()["data"]
        assert (load["status"], load["attempt"]) == ("published", 1)
        assert load["requested_by"].startswith("key ")
    ((operation, product, dataset),) = loaded.rows("SELECT operation, product, dataset FROM decant.audit_log")
    assert (operation, product, dataset) == ("POST /operations/loads", "people", "people")


def test_a_derived_dataset_is_refreshed_where_it_is_named(loaded: Lab) -> None:
    with client_with(loaded, "ops:write") as client:
        answer = client.post("/operations/loads", json={"product": "people", "major": 1, "dataset": "ages"})
    assert [(load["dataset"], load["kind"]) for load in answer.json()["data"]] == [("ages", "refresh")]


def test_a_repeated_request_queues_once(loaded: Lab) -> None:
    with client_with(loaded, "ops:write") as client:
        headers = {"Idempotency-Key": '"today"'}
        answers = [client.post("/operations/loads", json={"product": "people"}, headers=headers) for _ in range(2)]
        assert answers[0].json() == answers[1].json()
        other = client.post("/operations/loads", json={"product": "people", "major": 1}, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert loaded.rows("SELECT count(*) FROM decant.loads WHERE status = 'queued'") == [(1,)]


def test_who_lacks_the_scope_is_refused_and_told_which(loaded: Lab) -> None:
    with client_with(loaded, "people:read", "ops:read") as client:
        refused = client.post("/operations/loads", json={"product": "people"})
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        assert 'scope="ops:write"' in refused.headers["WWW-Authenticate"]
        del client.headers["Authorization"]
        for answer in (client.get("/operations/loads"), client.get("/operations/loads/1")):
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert client.post("/operations/loads", json={"product": "people"}).status_code == 401


REFUSED_QUERIES = [
    ("status=done", "invalid_value"),
    ("product=nobody", "invalid_value"),
    ("major=9", "invalid_value"),
    ("dataset=peple", "invalid_value"),
    ("limit=0", "limit_out_of_range"),
    ("before=x", "invalid_cursor"),
    ("stauts=failed", "unknown_parameter"),
    ("status=failed&status=queued", "duplicate_parameter"),
    ("product=%00", "invalid_text"),
]
REFUSED_BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"\xff", 422),
    (b"[" * 10_000, 400),
    (b"[]", 422),
    (b"{}", 422),
    (b'{"product": 7}', 422),
    (b'{"product": "nobody"}', 422),
    (b'{"product": "people", "major": []}', 422),
    (b'{"product": "people", "major": true}', 422),
    (b'{"product": "people", "dataset": {}}', 422),
    (b'{"product": "people", "dataset": "nothing"}', 422),
    (b'{"product": "people", "force": true}', 422),
    (b" " * 70_000, 413),
]


@pytest.mark.slow
def test_a_query_that_means_nothing_is_refused(loaded: Lab) -> None:
    with client_with(loaded, "ops:read") as client:
        for query, code in REFUSED_QUERIES:
            answer = client.get(f"/operations/loads?{query}")
            assert (query, answer.status_code, answer.json()["code"]) == (query, 422, code)


def test_a_body_that_asks_for_nothing_known_is_refused(loaded: Lab) -> None:
    with client_with(loaded, "ops:write") as client:
        for body, status in REFUSED_BODIES:
            answer = client.post("/operations/loads", content=body, headers={"Content-Type": "application/json"})
            assert (body[:60], answer.status_code) == (body[:60], status)
            assert answer.headers["Content-Type"] == "application/problem+json"
    assert loaded.rows("SELECT count(*) FROM decant.loads WHERE status = 'queued'") == [(0,)]


@pytest.mark.slow
def test_other_media_types_and_unknown_loads_are_refused(loaded: Lab) -> None:
    with client_with(loaded, "ops:read", "ops:write") as client:
        answers: list[Any] = [client.post("/operations/loads", content=b"x", headers={"Content-Type": "text/csv"})]
        assert answers[0].status_code == 415
        for number in ("0", "99", "x", "9" * 30, "-1"):
            assert client.get(f"/operations/loads/{number}").status_code == 404
