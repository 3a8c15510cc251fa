"""Exports that are kept as files: built once for all who ask, and gone with what was erased."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest

from catalog.model.load_request import Erase
from tests.support.command_line import run
from tests.support.lab import Lab

BASE = "/data/people/v1/people"
MANY = 40  # more requests than a process has threads to wait in
WAIT_SECONDS = 10.0
ERASURE = Erase(("2",))
BUILDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'decant-export'"
FIRST = "id,name,age,born\n1,Ann,30,\n2,Ben,40,\n3,Cid,50,\n"


@pytest.fixture
def people(lab: Lab) -> Lab:
    """Three people in one revision."""
    assert lab.ingest("people.people", FIRST).status == "published"
    return lab


@pytest.fixture
def client(people: Lab) -> Iterator[httpx.Client]:
    """A client of the running service."""
    with people.serve() as client:
        yield client


def kept_files(lab: Lab) -> list[Path]:
    """Whatever lies where exports are kept."""
    return [path for path in lab.settings.exports_folder.rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_a_file_that_many_ask_for_at_once_is_built_once_for_all(people: Lab, client: httpx.Client, form: str) -> None:
    with ThreadPoolExecutor(MANY) as threads:
        answers = list(threads.map(lambda _: client.get(f"{BASE}/export?format={form}&at=1"), range(MANY)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert {path.suffix for path in kept_files(people)} == {f".{form}", ".lock", ".sha256"}


def test_an_erased_record_takes_every_kept_file_that_held_it_along(people: Lab, client: httpx.Client) -> None:
    assert people.ingest("people.people", FIRST.replace("Ann,30", "Ann,31")).status == "published"
    wait_until(lambda: client.get(f"{BASE}/records").json()["revision"] == 2)
    urls = [f"{BASE}/export?format={form}&at={at}" for form in ("parquet", "xlsx") for at in (1, 2)]
    urls.append(f"{BASE}/export?format=parquet&name=Ben")
    tags = {url: client.get(url).headers["etag"] for url in urls}
    assert len([path for path in kept_files(people) if path.suffix in {".parquet", ".xlsx"}]) == len(urls)
    erased = run(people, "erase", "people.people", "2", "--yes")
    assert erased.returncode == 0, erased.stderr
    assert kept_files(people) == []
    wait_until(lambda: client.get(f"{BASE}/records").json()["revision"] == 3)
    for url in urls[:-1]:
        for headers in ({}, {"Range": "bytes=0-99"}, {"If-None-Match": tags[url]}, {"If-None-Match": "*"}):
            answer = client.get(url, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (410, "revision_gone"), (url, headers)
    assert ids_in(client.get(urls[-1])) == []
    assert ids_in(client.get(f"{BASE}/export?format=parquet&at=3")) == [1, 3]
    assert all(path.name.partition("-")[2].startswith("3-") for path in kept_files(people))


@pytest.mark.slow
def test_a_service_with_a_folder_of_its_own_forgets_what_was_erased_elsewhere(people: Lab, tmp_path: Path) -> None:
    elsewhere = Lab(people.settings.model_copy(update={"home": tmp_path / "elsewhere"}), people.urls)
    assert elsewhere.settings.exports_folder != people.settings.exports_folder
    url = f"{BASE}/export?format=parquet&at="
    with elsewhere.serve() as client:
        assert ids_in(client.get(f"{url}1")) == [1, 2, 3]
        assert people.loader().run(people.dataset("people.people"), request=ERASURE).status == "published"
        wait_until(lambda: kept_files(elsewhere) == [])
        assert ids_in(client.get(f"{url}2")) == [1, 3]
        kept = kept_files(elsewhere)
    assert kept
    # One that was away at that time does it when it is back; what can still be read stays.
    left = kept[0].with_name("r1-left.parquet")
    left.touch()
    with elsewhere.serve():
        wait_until(lambda: not left.exists())
    assert kept_files(elsewhere) == kept


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before its first record", "midway"])
def test_a_file_that_is_built_while_a_record_is_erased_is_neither_sent_nor_kept(
    people: Lab, client: httpx.Client, moment: str
) -> None:
    lines = "".join(f"{number},x,,\n" for number in range(4, 300_000))
    assert people.ingest("people.people", FIRST + lines).status == "published"
    wait_until(lambda: client.get(f"{BASE}/records").json()["revision"] == 2)
    client.get(f"{BASE}/export?format=csv&id=1")
    with ThreadPoolExecutor(1) as thread:
        with psycopg.connect(people.urls.owner) as holder:
            if moment != "midway":
                holder.execute("LOCK TABLE people_v1.people IN ACCESS EXCLUSIVE MODE")
            answer = thread.submit(client.get, f"{BASE}/export?format=parquet&at=2")
            if moment == "midway":
                wait_until(lambda: any(path.suffix == ".part" for path in kept_files(people)))
            else:
                wait_until(lambda: people.rows(f"{BUILDS} AND wait_event_type = 'Lock'") != [])
            ((builder,),) = people.rows(BUILDS)
            os.kill(builder, signal.SIGSTOP)
        try:
            # What builds has an older snapshot, and stands still; so the erasure overtakes it.
            assert people.loader().run(people.dataset("people.people"), request=ERASURE).status == "published"
        finally:
            os.kill(builder, signal.SIGCONT)
        assert (answer.result().status_code, answer.result().json()["code"]) == (410, "revision_gone")
    assert [path for path in kept_files(people) if path.suffix != ".lock"] == []


def wait_until(check: Callable[[], bool]) -> None:
    """Nothing comes back; the check is true by now."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def ids_in(answer: httpx.Response) -> list[int]:
    """The keys in a Parquet export."""
    assert answer.status_code == 200, answer.text
    ids: list[int] = pq.read_table(io.BytesIO(answer.content))["id"].to_pylist()
    return ids
