"""Several processes that serve together: real ones, killed, stopped, and counted."""

from __future__ import annotations

import os
import select
import signal
import threading
from pathlib import Path

import httpx
import pytest

from api.auth.api_keys import create_key
from runtime.postgres.database import make_engine
from runtime.settings.secret import read_secret
from tests.support.lab import Lab
from tests.support.serve_process import counted, serving
from tests.support.waiting import wait_until

RECORDS = "/data/people/v1/people/records"
START_SECONDS = 120.0  # of a process that serves: only a failure takes as long
PAUSE_SECONDS = 0.02


def children(pid: int) -> set[int]:
    """The processes that serve: what the command started, but not the helper of Python's own."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status, command = (folder / "status").read_text(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if f"\nPPid:\t{pid}\n" in status and b"spawn_main" in command:
                found.add(int(folder.name))
    return found


def headers_of(lab: Lab) -> dict[str, str]:
    """The headers of somebody who may see how the service does."""
    return {
        "X-API-Key": create_key(make_engine(lab.urls.owner), read_secret(lab.settings), "prometheus", ["ops:read"])
    }


@pytest.fixture
def people(lab: Lab) -> Lab:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,NA,\n,x,1,\n")
    return lab


def test_metrics_tell_of_requests_cache_and_ledger(people: Lab) -> None:
    with people.serve() as client:
        for _ in range(3):
            client.get(RECORDS)
        client.get(f"{RECORDS}?nothing=1")
        assert client.get("/metrics").status_code == 401
        answer = client.get("/metrics", headers=headers_of(people))
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    assert 'decant_requests_total{kind="records",status="200"}' in text
    assert 'decant_requests_total{kind="records",status="422"}' in text
    assert counted(text, "decant_cache_lookups_total") >= 3
    assert 'decant_dataset_revision{dataset="people",major="1",product="people"} 1.0' in text
    assert 'decant_dataset_records{dataset="people",major="1",product="people"} 2.0' in text
    assert 'decant_rejected_records{dataset="people",major="1",product="people"} 1.0' in text
    assert 'decant_loads{status="published"} 1.0' in text
    assert "decant_request_seconds_bucket" in text


def test_processes_share_a_port_are_counted_together_and_replaced_when_they_die(people: Lab) -> None:
    with serving(people, "--workers", "2") as (process, url), httpx.Client(base_url=url, timeout=30) as client:
        wait_until(lambda: client.get("/livez").is_success and len(children(process.pid)) == 2, START_SECONDS)
        # A connection each, so that more than one process gets some.
        for _ in range(60):
            with httpx.Client(base_url=url, timeout=30) as other:
                assert other.get(RECORDS).status_code == 200
        text = client.get("/metrics", headers=headers_of(people)).text
        assert counted(text, 'decant_requests_total{kind="records",status="200"}') == 60
        refused: list[Exception] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.wait(PAUSE_SECONDS):
                try:
                    httpx.get(f"{url}{RECORDS}", timeout=30)
                except httpx.ConnectError as error:
                    refused.append(error)
                except httpx.TransportError:
                    pass  # the answer that the killed process was about to give

        thread = threading.Thread(target=ask)
        thread.start()
        before = children(process.pid)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in (now := children(process.pid)) and len(now) == 2, START_SECONDS)
        stop.set()
        thread.join()
        assert refused == []
        assert httpx.get(f"{url}{RECORDS}", timeout=30).status_code == 200
        pids = before | children(process.pid)
    assert process.returncode == 0
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists(), "a process was left behind"


@pytest.mark.slow
def test_processes_end_when_the_one_that_started_them_is_killed(people: Lab) -> None:
    with serving(people, "--workers", "2") as (process, url):
        assert httpx.get(f"{url}{RECORDS}", timeout=60).status_code == 200
        watched = [os.pidfd_open(child) for child in children(process.pid)]
        process.kill()
        waiting = select.poll()
        for descriptor in watched:
            waiting.register(descriptor, select.POLLIN)
        assert watched
        while watched:
            ended = waiting.poll(60_000)
            assert ended, "a process goes on without the one that started it"
            for descriptor, _ in ended:
                waiting.unregister(descriptor)
                os.close(descriptor)
                watched.remove(descriptor)
