"""Loads killed at every named step, and what must hold whatever happened."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from catalog.contract.load import load_catalog
from catalog.storage.dataset_tables import build_tables
from ingest.cleaning import published_snapshot
from ingest.errors import DatasetBusyError
from ingest.landing.landing_zone import LandingZone
from ingest.loading import fetch_batch, load_batch, loader
from ingest.loading.load_report import LoadReport
from ingest.publishing import publish, snapshot_cache, staging, transaction
from ingest.quarantine import rejected_records as quarantine
from runtime.postgres.database import make_engine
from runtime.settings.settings import load_settings
from tests.endurance.testbed import Batch, make_batch
from tests.support.lab import Lab

RECORDS = 12_000  # a batch takes several blocks of COPY
CHILD_SECONDS = 120
BUSY_SECONDS, BUSY_LOOKS = 0.1, 600  # a statement that was running ends first
LOOK_SECONDS = 0.005  # between a reader's looks: without a pause they take more time of a core than the loads
# Where a load dies: before or after a function of a module, or in the middle of a COPY.
POINTS: dict[str, tuple[Any, str, str]] = {
    "before landing": (fetch_batch, "land", "before"),
    "after landing": (fetch_batch, "land", "after"),
    "after the batch was placed": (LandingZone, "place", "after"),
    "before the ledger knows": (fetch_batch, "note_landed", "after"),
    "when the ledger knows": (fetch_batch, "delete_outdated", "before"),
    "after cutting": (load_batch, "parse_landed", "after"),
    "before cleaning": (load_batch, "compile_cleaning", "before"),
    "before staging": (publish, "stage", "before"),
    "in the middle of COPY": (transaction, "copy_file", "middle"),
    "after staging": (publish, "stage", "after"),
    "after the indexes were parked": (publish, "park_indexes", "after"),
    "after the difference was applied": (transaction, "measure_gates", "before"),
    "before the commit": (transaction, "finish_load", "after"),
    "after the commit": (load_batch, "publish", "after"),
    "before the records are kept": (snapshot_cache, "store_snapshot", "before"),
    "before the load is closed": (loader, "close_load", "before"),
}
# Those that are something else when the dataset is still empty: COPY goes straight into its table then.
FIRST_POINTS = ("after the indexes were parked", "in the middle of COPY", "before the commit", "after the commit")


def die() -> None:
    """Ends this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def set_trap(point: str) -> None:
    """Makes this process die at a named point of its next load."""
    module, name, when = POINTS[point]
    original = getattr(module, name)

    def trapped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            die()
        if when == "middle":
            connection, target, file = args
            half = file.with_name("half.csv")
            content = file.read_bytes()
            half.write_bytes(content[: content.rfind(b"\n", 0, max(1, len(content) // 2)) + 1])
            quarantine.copy_file(connection, target, half)
            die()
        result = original(*args, **kwargs)
        die()
        return result

    setattr(module, name, trapped)
    if when == "middle":
        staging.copy_file = trapped  # to the load's own table, where there is something to compare with


def load_in_child(facts: dict[str, Any], point: str | None) -> None:
    """One load in a process of its own, which dies at `point`."""
    published_snapshot.SNAPSHOT_FROM_RECORDS = 1
    os.environ |= facts["environment"]  # the server of forks began without it
    folders = {name: Path(facts[name]) for name in ("home", "contracts", "data")}
    settings = load_settings(**folders, store_url=facts["store_url"])
    catalog = load_catalog(settings)
    if point is not None:
        set_trap(point)
    tables = build_tables(catalog.products.values())
    loader.Loader(settings, catalog, tables, make_engine(facts["ingest"])).run(catalog.find("plant.readings")[0])


class CrashRun:
    """A row of loads, each killed at some point and taken up again, and the model that they are held against."""

    def __init__(self, lab: Lab, seed: int) -> None:
        """`lab` takes up what is killed: on the same host, or where the store is a bucket, on another one."""
        self.lab = lab
        self.chance = random.Random(seed)
        self.number = 0
        self.published: list[Batch] = []
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["tests.endurance.crash"])
        self.facts: dict[str, Any] = {
            "home": f"{lab.settings.home}{'-of-another-host' if lab.settings.store_url else ''}",
            "store_url": lab.settings.store_url,
            "environment": {name: value for name, value in os.environ.items() if name.startswith("AWS_")},
            "contracts": str(lab.settings.contracts),
            "data": str(lab.settings.data_folder),
            "ingest": lab.urls.ingest,
        }
        self.indexes = self.count_indexes()

    def kill_once(self, point: str | None, after_seconds: float | None = None) -> bool:
        """Whether the load of a new batch was killed, at a point or after a while; then it is taken up again."""
        self.number += 1
        batch = make_batch(self.number, RECORDS, self.chance)
        self.lab.write("readings.csv", batch.content)
        child = self.processes.Process(target=load_in_child, args=(self.facts, point))
        child.start()
        child.join(CHILD_SECONDS if after_seconds is None else after_seconds)
        if child.is_alive():
            assert after_seconds is not None, f"the load did not end: {point}"
            child.kill()
            child.join(CHILD_SECONDS)
        killed = child.exitcode == -signal.SIGKILL
        self.check_whole()
        report = self.take_up()
        assert report.status in {"published", "unchanged"}, report
        self.published.append(batch)
        self.check(batch)
        return killed

    def take_up(self) -> LoadReport:
        """The next load, which waits until the server has noticed that the killed one's connection is gone."""
        for _ in range(BUSY_LOOKS):
            try:
                return self.lab.ingest("plant.readings")
            except DatasetBusyError:
                time.sleep(BUSY_SECONDS)
        raise AssertionError("the dataset of a killed load stays busy")

    def check_whole(self) -> None:
        """Between a kill and the next load: the dataset is what it was, or what it was to become."""
        ((least, most, count),) = self.lab.rows("SELECT min(batch), max(batch), count(*) FROM plant_v1.readings")
        sizes = {batch.number: len(batch.good) for batch in self.published}
        if count:
            assert least == most
            assert least == self.number or sizes[least] == count
        ((head,),) = self.lab.rows("SELECT record_count FROM decant.datasets WHERE dataset = 'readings'")
        assert head == count

    def check(self, batch: Batch) -> None:
        """After the next load: every record is accounted for, nothing is doubled, nothing is left about."""
        rows = self.lab.rows("SELECT id, meter, batch FROM plant_v1.readings")
        assert {key: meter for key, meter, _ in rows} == batch.good
        assert {number for _, _, number in rows} == {batch.number}
        loads = self.lab.rows(
            "SELECT raw, accepted, rejected, duplicates FROM decant.loads AS l JOIN decant.datasets AS d"
            " ON d.id = l.dataset_id WHERE status = 'published' AND d.dataset = 'readings' ORDER BY l.revision"
        )
        assert loads == [(b.raw, len(b.good), b.rejected, b.duplicates) for b in self.published]
        ((rejects,),) = self.lab.rows("SELECT count(*) FROM decant.rejected_records WHERE load_id ="
                                      " (SELECT max(load_id) FROM decant.revisions)")  # fmt: skip
        assert rejects == batch.rejected
        assert self.lab.rows("SELECT 1 FROM decant.loads WHERE status = 'running'") == []
        assert self.lab.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'decant_staging'") == []
        assert self.lab.rows("SELECT 1 FROM decant.parked_indexes") == []
        assert self.count_indexes() == self.indexes
        assert list(self.lab.settings.work_folder.iterdir()) == []
        if self.lab.settings.store_url:
            assert not self.lab.landing.exists()

    def check_history(self) -> None:
        """Every revision that was ever published is still what it was."""
        for revision, batch in enumerate(self.published, 1):
            seen = self.lab.rows(
                "SELECT id, meter FROM plant_v1.readings WHERE _revision <= %s UNION ALL"
                " SELECT id, meter FROM plant_v1.readings_history WHERE _revision <= %s AND _until > %s",
                revision,
                revision,
                revision,
            )
            assert len(seen) == len(batch.good)
            assert dict(seen) == batch.good

    def count_indexes(self) -> int:
        """How many indexes the dataset's tables have."""
        ((number,),) = self.lab.rows("SELECT count(*) FROM pg_indexes WHERE schemaname = 'plant_v1'")
        return int(number)


@contextmanager
def watch_readers(lab: Lab, say: Callable[[str], None]) -> Iterator[None]:
    """A reader beside it all: it fails the run if it ever sees two batches at once."""
    ended = threading.Event()
    seen: list[tuple[int, int]] = []

    def read() -> None:
        with psycopg.connect(lab.urls.read, autocommit=True) as connection:
            while not ended.wait(LOOK_SECONDS):
                least, most = connection.execute(
                    "SELECT coalesce(min(batch), 0), coalesce(max(batch), 0) FROM plant_v1.readings"
                ).fetchone() or (0, 0)
                seen.append((least, most))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join()
    assert all(least == most for least, most in seen), "a reader saw a mixture"
    assert [least for least, _ in seen] == sorted(least for least, _ in seen), "a reader went back in time"
    say(f"a reader looked {len(seen):,} times and saw whole revisions only")


def run_kills(lab: Lab, kills: int, seed: int, first: str, say: Callable[[str], None]) -> dict[str, int]:
    """How often loads were killed at each point; AssertionError where anything did not hold.

    The first load, of an empty dataset, dies at `first`; every third of the others at a moment drawn by chance.
    """
    run = CrashRun(lab, seed)
    found = dict.fromkeys([*POINTS, "at any moment"], 0)
    names = [name for name in POINTS if name != FIRST_POINTS[0]]
    with watch_readers(lab, say):
        found[first] += run.kill_once(first)
        for turn in range(kills - 1):
            by_chance = turn % 3 == 2
            point = None if by_chance else names[(turn - turn // 3) % len(names)]
            timestamp = run.chance.uniform(0.05, 2.0) if by_chance else None
            found[point or "at any moment"] += run.kill_once(point, timestamp)
    run.check_history()
    return {name: number for name, number in found.items() if number}
