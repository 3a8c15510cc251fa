"""Slices of a batch, each judged by itself: together they are what one engine finds in the whole."""

from __future__ import annotations

import csv
import gzip
import io
import json
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
from ingest.readers import json_lines, record_writer
from tests.support.engines import HEADER, TYPES, make_things, outcome_of
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixed", "packed", "lines", "csv", "ndjson"])
def test_a_batch_that_tasks_parse_comes_out_like_the_whole(
    make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch, kind: str
) -> None:
    sliced.setattr(json_lines, "BLOCK_BYTES", 2_000)
    sliced.setattr(record_writer, "SLICE_BYTES", 20_000)
    tasks: list[SliceTask] = []

    def note(address: str, task: SliceTask, slices: int) -> list[Judged]:
        tasks.append(task)
        return run_here(address, task, slices)

    sliced.setattr(spark, "run_tasks", note)
    form = "csv" if kind == "csv" else "ndjson"
    contract = TYPES.replace("path: things.csv", "path: 'things-*'").replace("format: csv", f"format: {form}")
    whole, spread = make_lab(contract), make_lab(contract, **CLUSTER)
    for lab in (whole, spread):
        for name, content in make_files(kind).items():
            lab.write(name, content)
    expected = outcome_of(whole, THINGS)
    assert expected["status"] == "published"
    assert expected["counts"][2] > 100
    assert expected["counts"][3] > 10
    assert outcome_of(spread, THINGS) == expected
    (task,) = tasks
    assert task.parsing is not None
    assert len(task.parsing.pieces) > 1
    assert list(FolderStore(spread.settings.home).list(SLICES)) == []


def make_files(kind: str) -> dict[str, bytes]:
    """A batch in several files, which differ in what they have beside the records."""
    if kind == "csv":
        tables = [make_things(200, seed).encode() for seed in range(3)]
        contents = [tables[0], turn_columns(tables[1]), HEADER.encode(), tables[2]]
    else:
        lines = [make_objects(200, seed) for seed in range(4)]
        lines[2] = b"\n \n" + lines[2] + b"\n\n"
        contents = {
            "ndjson": lines,
            "lines": [b"\xef\xbb\xbf" + b"".join(lines)],
            "packed": [gzip.compress(b"".join(lines * 8), 1), lines[1], gzip.compress(lines[2])],
            "mixed": [lines[0], b"", b"".join(lines).removesuffix(b"\n"), lines[3]],
        }[kind]
    return {f"things-{number}": content for number, content in enumerate(contents)}


def turn_columns(content: bytes) -> bytes:
    """The same records, with one more column before the others, which come the other way round."""
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([["more", *reversed(row)] for row in rows])
    return out.getvalue().encode()


def make_objects(records: int, seed: int) -> bytes:
    """The records of `make_things` as NDJSON; the malformed ones are so here too, and each has a key of its own."""
    rows = csv.reader(io.StringIO(make_things(records, seed), newline=""))
    header = next(rows)
    found = []
    for number, row in enumerate(rows):
        record: dict[str, Any] = dict(zip(header, row, strict=False)) | {f"more{number % 3}": seed}
        for name in ("facts", "tags"):
            record[name] = None
        found.append(json.dumps(record) if len(row) == len(header) else json.dumps(record)[:-1])
    return "".join(f"{line}\n" for line in found).encode()


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("second", "code"),
    [("id,name\n1,Ann\n", "missing_columns"), (b"PAR1 and more", "source_unreadable")],
)
def test_a_part_that_a_task_cannot_read_fails_the_load_as_it_does_here(
    make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch, second: str | bytes, code: str
) -> None:
    contract = TYPES.replace("path: things.csv", "path: 'things-*'")
    outcomes = []
    for lab in (make_lab(contract), make_lab(contract, **CLUSTER)):
        lab.write("things-0", make_things(200, 1))
        lab.write("things-1", second)
        outcomes.append(outcome_of(lab, THINGS))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0]["error"][0] == code


@pytest.mark.slow
def test_a_task_that_needs_more_memory_fails_the_load_as_it_does_here(
    make_lab: Callable[..., Lab], sliced: pytest.MonkeyPatch
) -> None:
    for chosen in ({}, CLUSTER):
        lab = make_lab(TYPES, duckdb_memory="1MB", **chosen)
        lab.write("things.csv", make_things(600, 1))
        report = lab.ingest(THINGS)
        assert (report.status, report.error_code) == ("failed", "out_of_memory")
        assert "increase DECANT_DUCKDB_MEMORY" in (report.error or "")


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


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"duckdb": "0.1"}, "cluster_failed", f"have DuckDB 0.1, this one {duckdb.__version__}"),
        ({"error": "no such function"}, "cleaning_failed", "DuckDB: no such function"),
        ({"failure": '["ClusterError", "A slice is gone."]'}, "cluster_failed", "A slice is gone."),
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
