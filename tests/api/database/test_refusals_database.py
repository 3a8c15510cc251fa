"""What requests get when their query costs too much, or the database has no time for them; then it is well again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import psycopg
import pytest

from tests.support.lab import PEOPLE, Lab

RECORDS = "/data/people/v1/people/records"
GROUPS = "/data/people/v1/people/aggregate?group_by=name&measure=count&sort=-count&limit=1"
HEADER = "id,name,age,born\n"
MANY = HEADER + "".join(f"{number},{number:060d},,\n" for number in range(30_000))
LONG_NAMES = PEOPLE.replace("maxLength: 20", "maxLength: 60")


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["code"]


@contextmanager
def table_locked(lab: Lab) -> Iterator[None]:
    """Nobody reads the table as long as this lasts, as while it is migrated."""
    with psycopg.connect(lab.urls.owner) as connection:
        connection.execute("LOCK TABLE people_v1.people IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.fixture
def big(make_lab: Callable[..., Lab]) -> Lab:
    """Records whose groups do not fit into the memory that a query has here."""
    lab = make_lab(LONG_NAMES, query_temp_mb=1)
    lab.ingest("people.people", MANY)
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET work_mem = '64kB'".encode())
    return lab


def test_a_query_over_its_temporary_space_is_refused_and_smaller_ones_are_answered(big: Lab) -> None:
    with big.serve() as client:
        answer = client.get(GROUPS)
        assert problem(answer) == (422, "query_too_expensive")
        assert "filter" in answer.json()["detail"]
        assert client.get(f"{GROUPS}&id[lt]=100").status_code == 200
        assert problem(client.get(GROUPS)) == (422, "query_too_expensive")
    roomy = Lab(big.settings.model_copy(update={"query_temp_mb": 256}), big.urls)
    with roomy.serve() as client:
        assert client.get(GROUPS).status_code == 200


def test_a_query_over_its_time_is_ended_and_the_next_one_is_answered(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(query_timeout_ms=200)
    lab.ingest("people.people", HEADER + "1,Ann,30,\n")
    with lab.serve() as client:
        assert client.get(RECORDS).status_code == 200
        with table_locked(lab):
            answer = client.get(f"{RECORDS}?limit=2")
            assert problem(answer) == (504, "query_timeout")
            assert answer.headers["retry-after"]
            assert client.get(RECORDS).status_code == 200, "what is cached needs no table"
        assert client.get(f"{RECORDS}?limit=2").status_code == 200


def test_a_table_that_stays_locked_is_no_fault_of_the_service(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(query_timeout_ms=5000)
    lab.ingest("people.people", HEADER + "1,Ann,30,\n")
    with lab.serve() as client:
        with table_locked(lab):
            answer = client.get(f"{RECORDS}?limit=2")
        assert problem(answer) == (503, "unavailable")
        assert answer.headers["retry-after"]
        assert client.get(f"{RECORDS}?limit=2").status_code == 200


def test_when_every_connection_is_busy_others_are_asked_to_come_again(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(read_pool_size=1, pool_timeout_ms=200, query_timeout_ms=10_000)
    lab.ingest("people.people", HEADER + "1,Ann,30,\n")
    with lab.serve() as client:
        assert client.get("/readyz").status_code == 200
        waiting: list[httpx.Response] = []
        busy = threading.Thread(target=lambda: waiting.append(httpx.get(f"{client.base_url}{RECORDS}", timeout=20)))
        with table_locked(lab):
            busy.start()
            wait_until_blocked(lab)
            answer = client.get(f"{RECORDS}?limit=2")
            assert problem(answer) == (503, "unavailable")
            assert answer.headers["retry-after"]
            assert client.get("/livez").status_code == 200
            ready = client.get("/readyz")
            assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
        busy.join(20)
        assert waiting[0].status_code in {200, 503}
        assert client.get(f"{RECORDS}?limit=2").status_code == 200
        assert client.get("/readyz").status_code == 200


def wait_until_blocked(lab: Lab) -> None:
    """Returns once a reader waits for a lock."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    for _ in range(2000):
        if lab.rows(waits) != [(0,)]:
            return
    raise AssertionError("nobody waits")


def test_without_its_read_login_the_service_lives_and_is_not_ready(lab: Lab) -> None:
    away = replace(lab.urls, read=lab.urls.read.replace("decant_read", "nobody_at_all"))
    with Lab(lab.settings.model_copy(update={"pool_timeout_ms": 200}), away).serve() as client:
        for path in (RECORDS, f"{RECORDS}/1", "/data/people/v1/people/export?format=csv&at=1"):
            answer = client.get(path)
            assert problem(answer) == (503, "unavailable"), path
            assert answer.headers["retry-after"]
            assert "nobody_at_all" not in answer.text
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503


def test_what_breaks_here_is_a_problem_that_tells_nothing_and_ends_its_connection(lab: Lab) -> None:
    lab.ingest("people.people", HEADER + "1,Ann,30,\n")
    with lab.serve() as client:
        assert client.get(RECORDS).status_code == 200
        with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
            connection.execute("ALTER TABLE people_v1.people RENAME age TO years")
        for _ in range(20):
            answer = client.get(f"{RECORDS}?limit=2")
            assert problem(answer) == (500, "internal_error")
            assert answer.headers["connection"] == "close"
            assert not [word for word in ("age", "years", "people_v1", "SELECT", "Error") if word in answer.text]
