"""Slices of a batch, each judged by itself: together they are what one engine finds in the whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from catalog.storage.folder_store import FolderStore
from catalog.storage.object_store import SLICES
from ingest.cleaning import engine
from ingest.cleaning.engines import spark
from ingest.cleaning.engines.slices import Judged, SliceTask, delete_old_slices, key_of_slice
from ingest.readers import record_writer
from tests.support.engines import TYPES, make_things, outcome_of
from tests.support.lab import Lab

CLUSTER = {"engine": "spark://127.0.0.1:7077", "engine_from_bytes": 0}
THINGS = "kinds.things"


def run_here(_address: str, task: SliceTask, slices: int) -> list[Judged]:
    """The tasks of a cluster, one after the other in this process."""
    numbers = [pa.RecordBatch.from_pydict({"id": [number]}) for number in range(slices)]
    return [Judged(**row) for batch in task.run(iter(numbers)) for row in batch.to_pylist()]


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Batches come in many slices, which are judged here."""
    monkeypatch.setattr(record_writer, "SLICE_BYTES", 5_000)
    monkeypatch.setattr(spark, "run_tasks", run_here)
    return monkeypatch


@pytest.mark.parametrize("seed", [1, 2])
def test_a_batch_in_slices_comes_out_like_the_whole(
    make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch, seed: int
) -> None:
    whole, spread = make_lab(TYPES), make_lab(TYPES, **CLUSTER)
    for lab in (whole, spread):
        lab.write("things.csv", make_things(600, seed))
    expected = outcome_of(whole, THINGS)
    assert expected["status"] == "published"
    assert expected["counts"][2] > 100
    assert expected["counts"][3] > 10
    assert outcome_of(spread, THINGS) == expected
    assert list(FolderStore(spread.settings.home).list(SLICES)) == []


def test_a_batch_that_is_judged_here_is_one_file(make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    original = engine.evaluate_rules

    def note(connection: Any, plan: Any, parsed: Any) -> None:
        found.append(len(parsed.records))
        original(connection, plan, parsed)

    sliced.setattr(engine, "evaluate_rules", note)
    lab = make_lab(TYPES)
    lab.write("things.csv", make_things(600, 1))
    assert lab.ingest(THINGS).status == "published"
    assert found == [1]


def test_a_small_batch_is_judged_here(make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch) -> None:
    lab = make_lab(**CLUSTER | {"engine_from_bytes": 1_000_000})
    sliced.setattr(spark, "run_tasks", None)
    assert lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n").status == "published"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"duckdb": "0.1"}, "cluster_failed", f"have DuckDB 0.1, this one {duckdb.__version__}"),
        ({"error": "the slice is gone"}, "cleaning_failed", "DuckDB: the slice is gone"),
        ({"records": 7}, "cleaning_failed", "1 records were parsed, but 7 were checked"),
    ],
)
def test_a_task_that_says_anything_else_fails_the_load(
    make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch, changes: dict[str, Any], code: str, words: str
) -> None:
    lab = make_lab(**CLUSTER)
    sliced.setattr(spark, "run_tasks", lambda *each: [judged._replace(**changes) for judged in run_here(*each)])
    report = lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    assert (report.status, report.error_code) == ("failed", code)
    assert words in (report.error or "")
    assert list(FolderStore(lab.settings.home).list(SLICES)) == []
    assert lab.rows("SELECT count(*) FROM people_v1.people") == [(0,)]


def test_a_cluster_that_is_not_there_fails_a_load_that_is_tried_again(
    make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch
) -> None:
    lab = make_lab(**CLUSTER)

    def refuse(*_: object) -> None:
        raise ConnectionRefusedError("secret-canary")

    sliced.undo()
    sliced.setattr(spark, "open_session", refuse)
    report = lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    assert (report.status, report.error_code) == ("failed", "cluster_failed")
    assert "secret-canary" not in (report.error or "")
    assert "spark://127.0.0.1:7077" in (report.error or "")


def test_what_is_sent_to_a_cluster_holds_no_secret(
    make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tasks: list[SliceTask] = []

    def note(address: str, task: SliceTask, slices: int) -> list[Judged]:
        tasks.append(task)
        return run_here(address, task, slices)

    sliced.setattr(spark, "run_tasks", note)
    lab = make_lab(**CLUSTER, secret="s" * 32, database_url="postgresql://me:secret-canary@db.example/x")
    assert lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n").status == "published"
    text = repr(tasks)
    assert "secret-canary" not in text
    assert "s" * 32 not in text


def test_what_a_lost_loader_leaves_behind_goes_after_a_day(lab: Lab, tmp_path: Path) -> None:
    left = tmp_path / "0.csv"
    left.write_text("1,Ann\n")
    store = FolderStore(lab.settings.home)
    store.put(left, key_of_slice(f"{SLICES}/lost", 0))
    now = datetime.now(UTC)
    delete_old_slices(lab.settings, now)
    assert len(list(store.list(SLICES))) == 1
    delete_old_slices(lab.settings, now + timedelta(days=2))
    assert list(store.list(SLICES)) == []
