"""Reads from a replica: a request that names a revision never gets an older one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from api.keys import create_key
from catalog.database import READ_ROLE, make_engine
from catalog.embedded import EmbeddedPostgres
from catalog.settings import read_secret
from tests.lab import Lab
from tests.replicas import Replica, run_replica, wait_until

RECORDS = "/data/people/v1/people/records"
EVENTS = "/data/people/v1/people/changes"


def people(number: int, name: str) -> str:
    """So many people of one name."""
    return "id,name,age,born\n" + "".join(f"{n},{name},30,2000-01-01\n" for n in range(number))


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """A product with one revision."""
    lab = make_lab()
    lab.ingest("people.people", people(30, "Ann"))
    return lab


@pytest.fixture
def replica(lab: Lab, server: EmbeddedPostgres) -> Iterator[Replica]:
    """A replica that holds the first revision."""
    with run_replica(server) as running:
        running.catch_up()
        yield running


@pytest.fixture
def copied(lab: Lab, replica: Replica) -> Lab:
    """The same product, read from the replica."""
    with psycopg.connect(lab.urls.read) as connection:
        database = connection.info.dbname
    return Lab(lab.settings, replace(lab.urls, read=replica.url(READ_ROLE, database)))


def test_what_names_a_newer_revision_than_the_replica_holds_waits_for_it(
    lab: Lab, copied: Lab, replica: Replica
) -> None:
    with copied.serve() as client:
        assert client.get(RECORDS).json()["revision"] == 1
        replica.pause()
        lab.ingest("people.people", people(40, "Bea"))
        with lab.serve() as primary:
            newer = primary.get(f"{RECORDS}?limit=35")
            assert (newer.json()["revision"], newer.json()["data"][0]["name"]) == (2, "Bea")
        asked: list[tuple[str, dict[str, str]]] = [
            (f"{RECORDS}?limit=35", {"Decant-Min-Revision": "2"}),
            (f"{RECORDS}?limit=35", {"If-None-Match": newer.headers["etag"]}),
            (newer.json()["next"], {}),
            (f"{RECORDS}?at=2", {}),
            (f"{RECORDS}/3?at=2", {}),
            (f"{EVENTS}?since=2", {}),
        ]
        older = client.get(f"{RECORDS}?limit=35")
        assert (older.status_code, older.json()["revision"], older.headers["decant-revision"]) == (200, 1, "1")
        for url, headers in asked:
            answer = client.get(url, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), (url, headers)
            assert int(answer.headers["retry-after"]) >= 1
        # What exists nowhere is no matter of waiting.
        assert client.get(f"{RECORDS}?at=3").json()["code"] == "invalid_value"
        assert client.get(f"{EVENTS}?since=3").json()["code"] == "invalid_value"
        replica.resume()
        wait_until(lambda: client.get(f"{RECORDS}?limit=35").json()["revision"] == 2)
        for url, headers in asked:
            answer = client.get(url, headers=headers)
            assert answer.status_code == (304 if "If-None-Match" in headers else 200), (url, headers)
            assert answer.headers["decant-revision"] == "2"


def test_reads_run_on_the_replica_and_keys_are_looked_up_where_they_are_made(
    lab: Lab, copied: Lab, replica: Replica
) -> None:
    readers = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{READ_ROLE}' AND datname = '%s'"
    with psycopg.connect(lab.urls.read) as connection:
        readers = readers % connection.info.dbname
    with copied.serve() as client:
        assert client.get(RECORDS).status_code == 200
        assert replica.value(readers) > 0
        assert lab.rows(readers.replace("%", "%%")) == [(0,)]
        replica.pause()
        key = create_key(make_engine(lab.urls.write), read_secret(lab.settings), "late", ["people:read"])
        headers = {"Authorization": f"Bearer {key}"}
        assert client.get("/keys/self", headers=headers).status_code == 200
        assert client.get(RECORDS, headers=headers).json()["revision"] == 1


def test_a_read_that_the_replica_ends_for_its_primary_is_asked_for_again(
    lab: Lab, copied: Lab, replica: Replica
) -> None:
    with copied.serve() as client:
        assert client.get(RECORDS).status_code == 200
        # What replay does to readers in its way.
        ended = replica.value(
            f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{READ_ROLE}'"
        )
        assert ended > 0
        assert client.get(f"{RECORDS}?limit=7").status_code == 200
