"""Workers as processes: side by side, killed, stopped, and without their database for a while."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from runtime.postgres.database import make_engine
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.lab import PEOPLE, Lab
from tests.support.queued_loads import queue_load
from tests.support.telemetry import environment

DECANT = Path(sys.executable).with_name("decant")
PATIENCE = 60.0  # seconds

DATASET = """
  - name: set{number}
    customProperties:
      - property: input
        value: {{server: here, path: set{number}.csv, mode: snapshot}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: name, logicalType: string, required: true}}
"""
SETS = PEOPLE[: PEOPLE.index("  - name: people")] + "".join(DATASET.format(number=n).lstrip("\n") for n in range(5))
COUNT = 10  # loads of each


class Process:
    """A worker that runs, and what it has logged."""

    def __init__(self, lab: Lab, *arguments: str, **changes: str) -> None:
        self.log = lab.settings.home.parent / f"worker-{time.monotonic_ns()}.log"
        variables = environment(lab, None) | {"DECANT_INGEST_DATABASE_URL": lab.urls.ingest} | changes
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([DECANT, "worker", *arguments], env=variables, stdout=log, stderr=log)

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Returns when the log has the pattern so many times."""
        wait_until(lambda: len(re.findall(pattern, self.log.read_text())) >= times or self.process.poll() is not None)
        assert len(re.findall(pattern, self.log.read_text())) >= times, self.log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def worker(lab: Lab, *arguments: str, **changes: str) -> Iterator[Process]:
    """A worker for as long as the context lasts."""
    process = Process(lab, *arguments, **changes)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()
        print(process.log.read_text())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def queue(lab: Lab, address: str) -> int:
    return queue_load(make_engine(lab.urls.ingest), lab.dataset(address), "ingest")


def statuses(lab: Lab) -> dict[str, int]:
    return dict(lab.rows("SELECT status, count(*) FROM decant.loads GROUP BY 1"))  # type: ignore[arg-type]


def big_file(records: int, name: str = "Ann") -> str:
    return "id,name,age,born\n" + "".join(f"{n},{name},30,1990-01-31\n" for n in range(records))


@pytest.fixture
def sets(make_lab: Callable[..., Lab]) -> Lab:
    """Five datasets with a file each."""
    lab = make_lab(SETS)
    for number in range(5):
        lab.write(f"set{number}.csv", "id,name\n" + "".join(f"{n},a\n" for n in range(200)))
    return lab


@pytest.mark.slow
def test_two_workers_share_fifty_loads_and_run_each_once(sets: Lab) -> None:
    for _ in range(COUNT):
        for number in range(5):
            queue(sets, f"people.set{number}")
    with worker(sets, "--concurrency", "2") as one, worker(sets, "--concurrency", "2") as two:
        wait_until(lambda: not {"queued", "running"} & set(statuses(sets)))
        assert (one.stop(), two.stop()) == (0, 0)
        started = [re.findall(r"load_started load_id=(\d+)", each.log.read_text()) for each in (one, two)]
    assert statuses(sets) == {"published": 5, "unchanged": 45}
    assert sets.rows("SELECT DISTINCT attempt FROM decant.loads") == [(1,)]
    assert sorted(map(int, started[0] + started[1])) == list(range(1, 51))
    assert all(started)
    assert sets.rows("SELECT count(*) FROM decant_queue.procrastinate_jobs") == [(0,)]


def test_what_a_killed_worker_left_is_finished_by_the_other(sets: Lab) -> None:
    sets.write("set0.csv", "id,name\n" + "".join(f"{n},a\n" for n in range(150_000)))
    for number in range(5):
        queue(sets, f"people.set{number}")
    with worker(sets, "--concurrency", "1") as killed:
        wait_until(lambda: sets.rows("SELECT 1 FROM decant.loads WHERE id = 1 AND landed IS NOT NULL") != [])
        killed.stop(signal.SIGKILL)
    with worker(sets) as other:
        other.wait_for("load_published load_id=1 ")
        wait_until(lambda: statuses(sets) == {"published": 5})
    assert sets.rows("SELECT attempt FROM decant.loads WHERE id = 1") == [(2,)]
    assert sets.rows("SELECT count(*) FROM people_v1.set0") == [(150_000,)]


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_ends_its_load_first(lab: Lab) -> None:
    lab.write("people.csv", big_file(100_000))
    queue(lab, "people.people")
    with worker(lab) as process:
        process.wait_for("load_started")
        assert process.stop() == 0
        assert re.search("worker_stopping.*\n.*load_published.*\n.*worker_stopped", process.log.read_text())
    assert statuses(lab) == {"published": 1}


@pytest.mark.slow
def test_a_load_that_takes_too_long_to_wait_for_is_left_to_the_next_worker(lab: Lab) -> None:
    lab.write("people.csv", big_file(150_000))
    queue(lab, "people.people")
    with worker(lab, DECANT_WORKER_STOP_SECONDS="0.1") as process:
        wait_until(lambda: lab.rows("SELECT 1 FROM decant.loads WHERE landed IS NOT NULL") != [])
        assert process.stop() == 0
        assert "worker_stopped left_running=1" in process.log.read_text()
    assert statuses(lab) == {"running": 1}
    with worker(lab, "--once") as process:
        assert process.process.wait(PATIENCE) == 0
    assert statuses(lab) == {"published": 1}


@pytest.mark.slow
def test_a_second_signal_ends_a_worker_at_once(lab: Lab) -> None:
    lab.write("people.csv", big_file(150_000))
    queue(lab, "people.people")
    with worker(lab) as process:
        wait_until(lambda: lab.rows("SELECT 1 FROM decant.loads WHERE landed IS NOT NULL") != [])
        process.process.send_signal(signal.SIGTERM)
        process.wait_for("worker_stopping")
        assert process.stop() == 128 + signal.SIGTERM
    assert statuses(lab) == {"running": 1}


@pytest.mark.slow
def test_a_worker_goes_on_by_itself_when_its_database_was_away(lab: Lab, server: EmbeddedPostgres) -> None:
    lab.write("people.csv", big_file(10))
    database = lab.urls.owner.rpartition("/")[2].partition("?")[0]
    with worker(lab) as process, psycopg.connect(server.url(), autocommit=True) as admin:
        process.wait_for("worker_started")
        admin.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false'.encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
        process.wait_for("worker_restarts", times=2)
        admin.execute(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true'.encode())
        queue(lab, "people.people")
        process.wait_for("load_published")
        assert process.stop() == 0


@pytest.mark.slow
def test_a_load_whose_connection_is_cut_is_run_again(lab: Lab) -> None:
    lab.write("people.csv", big_file(1000))
    queue(lab, "people.people")
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = 'decant_ingest'"
        " AND wait_event_type = 'Lock'"
    )
    with worker(lab) as process:
        with psycopg.connect(lab.urls.owner) as owner:
            # What writes must wait, so that it is there to be cut.
            owner.execute("LOCK TABLE people_v1.people IN SHARE MODE")
            wait_until(lambda: lab.rows(cut) != [])
            process.wait_for("load_interrupted")
        process.wait_for("load_published")
    assert lab.rows("SELECT status, attempt > 1 FROM decant.loads") == [("published", True)]


@pytest.mark.slow
def test_pushed_events_are_published_soon_after_they_came(make_lab: Callable[..., Lab]) -> None:
    events = SETS.replace(
        "value: {server: here, path: set0.csv, mode: snapshot}", "value: {events: true, mode: upsert}"
    )
    lab = make_lab(events)
    push = (
        "INSERT INTO decant.events (dataset_id, source, event_id, payload)"
        " SELECT id, 'test', %s, %s FROM decant.datasets WHERE dataset = 'set0'"
        " RETURNING pg_notify('decant_events', dataset_id::text)"
    )
    seconds = []
    with worker(lab) as process:
        process.wait_for("worker_started")
        for number in range(3):
            lab.rows(push, str(number), f'{{"id": {number}, "name": "a"}}')
            pushed_at = time.monotonic()
            wait_until(lambda: lab.rows("SELECT count(*) FROM people_v1.set0") == [(number + 1,)])  # noqa: B023
            seconds.append(time.monotonic() - pushed_at)
        assert process.stop() == 0
    # A second or two where nothing else runs; the quickest tells what the worker adds.
    assert min(seconds) < 10, seconds


@pytest.mark.slow
def test_a_worker_shares_the_embedded_database_with_other_commands(tmp_path: Path) -> None:
    home = Path(os.environ.get("TMPDIR", "/tmp")) / f"decant-worker-{time.monotonic_ns()}"
    home.mkdir(mode=0o755)
    lab = Lab.build(tmp_path, None, home=home / "home")  # type: ignore[arg-type]
    variables = environment_without_database(lab)
    lab.write("people.csv", big_file(10))
    run = lambda *words: subprocess.run([DECANT, *words], env=variables, check=True, capture_output=True)  # noqa: E731
    run("migrate")
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen([DECANT, "worker"], env=variables, stderr=sink)
    try:
        wait_until(lambda: b"worker_started" in log.read_bytes())
        run("ingest")
        run("status")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        subprocess.run(["rm", "-rf", home], check=True)


def environment_without_database(lab: Lab) -> dict[str, str]:
    found = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "OTEL_"))}
    return found | {
        "DECANT_HOME": str(lab.settings.home),
        "DECANT_CONTRACTS": str(lab.settings.contracts),
        "DECANT_DATA": str(lab.settings.data_folder),
    }
