"""Whatever is raised while a load runs: the load is closed in words, and the others are loaded all the same."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import httpx
import psycopg
import pyarrow
import pytest

import ingest.publishing.snapshot_cache as snapshot_cache
import ingest.retention.prune as retention
from commands.loads import run_loads
from ingest.ledger.failures import explain_failure, is_outage
from ingest.loading.load_report import LoadReport
from ingest.loading.prune_datasets import prune_datasets
from ingest.loading.run_queued import run_queued
from ingest.worker.watch_inputs import has_new_data
from runtime.postgres.database import make_engine
from tests.support.lab import Lab
from tests.support.load_steps import caller_of
from tests.support.people import TOWN, WATCHED
from tests.support.queued_loads import queue_load

SECRET = "a secret value"
FOREIGN: dict[str, tuple[BaseException, str]] = {
    "disk full": (OSError(errno.ENOSPC, "No space left on device", "/x/records.csv"), "disk_full"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
    "permission": (PermissionError(errno.EACCES, "Permission denied", "/x/records.csv"), "system_error"),
    "memory": (MemoryError(), "out_of_memory"),
    "DuckDB's memory": (duckdb.OutOfMemoryException("Out of Memory Error: 256 MiB used"), "out_of_memory"),
    "DuckDB's disk": (duckdb.IOException('IO Error: "/x": No space left on device'), "disk_full"),
    "DuckDB": (duckdb.InvalidInputException(f"Invalid Input Error: '{SECRET}'"), "cleaning_failed"),
    "DuckDB's conversion": (duckdb.ConversionException(f"Conversion Error: {SECRET} is no INT32"), "cleaning_failed"),
    "DuckDB's range": (duckdb.OutOfRangeException(f"Out of Range Error: {SECRET}"), "cleaning_failed"),
    "type": (TypeError(SECRET), "internal_error"),
    "zero": (ZeroDivisionError(SECRET), "internal_error"),
    "unicode": (UnicodeDecodeError("utf-8", b"\xff", 0, 1, SECRET), "source_unreadable"),
    "surrogate": (UnicodeEncodeError("utf-8", "\ud800", 0, 1, SECRET), "source_unreadable"),
    "Arrow": (pyarrow.ArrowInvalid(SECRET), "source_unreadable"),
    "SQLite": (sqlite3.OperationalError(SECRET), "source_unreadable"),
    "HTTP": (httpx.ReadError(SECRET), "source_unavailable"),
    "too long": (psycopg.errors.ProgramLimitExceeded(SECRET), "database_refused"),
    "no such text": (psycopg.errors.CharacterNotInRepertoire(SECRET), "database_refused"),
    "deadlock": (psycopg.errors.DeadlockDetected(SECRET), "database_busy"),
    "time": (psycopg.errors.QueryCanceled(SECRET), "database_busy"),
    "Ctrl-C": (KeyboardInterrupt(), "interrupted"),
    "SIGTERM": (SystemExit(143), "interrupted"),
}
# One kind of each code, and as many as there are steps.
CHOSEN = (
    "disk full", "permission", "memory", "DuckDB", "type", "unicode", "HTTP", "too long", "deadlock", "Ctrl-C"
)  # fmt: skip
# Where it is raised: every step of a load, by a function that it calls.
STEPS = (
    "open_batch", "land", "note_landed", "parse_landed", "note_unread", "compile_cleaning", "clean_batch",
    "write_corrected", "stage", "publish_or_withhold",
)  # fmt: skip


@pytest.fixture
def town(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(TOWN)
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    lab.ingest("people.pets", "id,owner\n1,1\n", "pets.csv")
    return lab


@pytest.fixture
def versions() -> Iterator[int]:
    return iter(range(2, 1000))


def write_next(lab: Lab, versions: Iterator[int]) -> int:
    """Another file of each dataset."""
    number = next(versions)
    lab.write("people.csv", f"id,name,age,born\n1,Ann,{number % 100},\n2,Ben,{number % 100},\n")
    lab.write("pets.csv", f"id,owner\n1,{number}\n")
    return number


def load_all(lab: Lab) -> list[LoadReport]:
    """What `decant ingest` does."""
    return run_loads(lab.settings, lab.urls, lab.catalog, lab.catalog.datasets(), silent=True)


def raise_once(patch: pytest.MonkeyPatch, module: Any, name: str, error: BaseException) -> None:
    """Makes a function of a load raise when it is called for the first time."""
    original = getattr(module, name)
    raised: list[bool] = []

    def fails(*arguments: Any, **options: Any) -> Any:
        if not raised:
            raised.append(True)
            raise error
        return original(*arguments, **options)

    patch.setattr(module, name, fails)


def assert_nothing_left(lab: Lab) -> None:
    assert (
        lab.rows("SELECT 1 FROM decant.loads WHERE status IN ('running', 'queued') OR lease_until IS NOT NULL") == []
    )
    assert lab.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'decant_staging'") == []
    assert list(lab.settings.work_folder.glob("load-*")) == []
    held = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database"
    )
    assert lab.rows(f"{held} WHERE datname = current_database())") == []


def latest(lab: Lab, dataset: str = "people") -> tuple[Any, ...]:
    return lab.rows(
        "SELECT status, error_code, error, finished_at IS NOT NULL FROM decant.loads AS l JOIN decant.datasets AS d"
        " ON d.id = l.dataset_id WHERE d.dataset = %s ORDER BY l.id DESC LIMIT 1",
        dataset,
    )[0]


@pytest.mark.parametrize(
    "kinds", [CHOSEN, pytest.param(tuple(FOREIGN), marks=pytest.mark.slow)], ids=["each code", "every kind"]
)
def test_whatever_is_raised_at_any_step_closes_the_load_and_stops_no_other(
    town: Lab, versions: Iterator[int], monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...]
) -> None:
    assert {FOREIGN[kind][1] for kind in kinds} == {code for _, code in FOREIGN.values()}
    for index, kind in enumerate(kinds):
        error, code = FOREIGN[kind]
        step = STEPS[index % len(STEPS)]
        place = f"{kind} at {step}"
        number = write_next(town, versions)
        with monkeypatch.context() as patch:
            raise_once(patch, caller_of(step), step, error)
            if isinstance(error, Exception):
                reports = load_all(town)
                assert [report.status for report in reports] == ["failed", "published"], place
                assert reports[0].error_code == code, place
            else:
                with pytest.raises(type(error)):
                    load_all(town)
        status, error_code, words, finished = latest(town)
        assert (status, error_code, finished) == ("failed", code, True), place
        assert words, place
        assert SECRET not in words
        assert_nothing_left(town)
        assert town.ingest("people.people").status == "published", place
        if isinstance(error, Exception):
            assert town.rows("SELECT owner FROM people_v1.pets WHERE id = 1") == [(number,)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vacuum", "store"])
def test_what_fails_behind_a_publication_leaves_it_published(
    town: Lab, versions: Iterator[int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_next(town, versions)
    module: Any = caller_of(name) if name == "vacuum" else snapshot_cache.SnapshotCache
    raise_once(monkeypatch, module, name, OSError(errno.ENOSPC, "No space left on device"))
    report = load_all(town)[0]
    assert report.status == "published"
    assert "No space is left" in " ".join(report.notes)
    assert latest(town)[:2] == ("published", None)
    assert_nothing_left(town)
    assert "No space is left" in json.dumps(town.rows("SELECT notes FROM decant.loads ORDER BY id"))


@pytest.mark.slow
def test_tidying_up_neither_hides_a_failure_nor_keeps_it_from_the_ledger(
    town: Lab, versions: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ingest.loading.workspace as workspace

    write_next(town, versions)
    raise_once(monkeypatch, caller_of("publish_or_withhold"), "publish_or_withhold", TypeError(SECRET))
    statement = psycopg.errors.LockNotAvailable("busy")

    def fails(*_arguments: Any) -> None:
        import sqlalchemy as sa

        raise sa.exc.OperationalError("DROP TABLE", {}, statement)

    with monkeypatch.context() as patch:
        patch.setattr(workspace, "unstage", fails)
        assert town.loader().run(town.dataset("people.people")).error_code == "internal_error"
    assert latest(town)[:2] == ("failed", "internal_error")
    assert town.ingest("people.people").status == "published"
    assert_nothing_left(town)


@pytest.mark.slow
def test_a_load_that_cannot_be_opened_is_reported_and_the_others_are_loaded(
    town: Lab, versions: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_next(town, versions)
    raise_once(monkeypatch, caller_of("open_load"), "open_load", psycopg.errors.DeadlockDetected())
    first, second = load_all(town)
    assert (first.status, first.load_id, first.error_code) == ("failed", None, "database_busy")
    assert second.status == "published"
    raise_once(
        monkeypatch, caller_of("sweep_leftovers"), "sweep_leftovers", OSError(errno.EMFILE, "Too many open files")
    )
    first, second = load_all(town)
    assert (first.error_code, second.status) == ("system_error", "unchanged")
    assert "Too many open files" in (first.error or "")
    assert_nothing_left(town)


@pytest.mark.slow
def test_a_database_that_goes_away_leaves_the_load_to_the_next_one(
    town: Lab, versions: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_next(town, versions)
    landed: list[str] = []
    original = caller_of("land").land

    def counted(*arguments: Any) -> Any:
        landed.append(arguments[0].source)
        return original(*arguments)

    monkeypatch.setattr(caller_of("land"), "land", counted)
    with monkeypatch.context() as patch:
        raise_once(patch, caller_of("parse_landed"), "parse_landed", psycopg.errors.AdminShutdown())
        first, second = load_all(town)
    assert (first.error_code, second.status) == ("database_unavailable", "published")
    assert latest(town)[0] == "running"
    assert town.ingest("people.people").status == "published"
    assert len(landed) == 2  # one of each dataset: what was landed is not asked for again
    assert_nothing_left(town)


def test_a_source_that_is_mended_is_read_anew_and_its_old_bytes_are_not_kept_unnamed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("people.csv", "id,name,age,born\n1,Bad,30,\n")
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    with monkeypatch.context() as patch:
        raise_once(patch, caller_of("parse_landed"), "parse_landed", TypeError(SECRET))
        assert run_queued(lab.loader(), load_id) == "retry"
    lab.write("people.csv", "id,name,age,born\n1,Good,30,\n")
    assert run_queued(lab.loader(), load_id) == "published"
    assert lab.rows("SELECT name FROM people_v1.people") == [("Good",)]
    landed = [path for path in lab.landing.rglob("*") if path.is_file()]
    assert [path.name for path in landed] == [lab.rows("SELECT batch_sha256 FROM decant.loads")[0][0]]


@pytest.mark.parametrize(("attempt", "name"), [(1, "Old"), (5, "New")])
def test_a_killed_load_goes_on_with_what_it_landed_until_that_may_be_why_it_dies(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, attempt: int, name: str
) -> None:
    lab.write("people.csv", "id,name,age,born\n1,Old,30,\n")
    with monkeypatch.context() as patch:
        raise_once(patch, caller_of("parse_landed"), "parse_landed", psycopg.errors.AdminShutdown())
        assert load_all(lab)[0].error_code == "database_unavailable"
    lab.write("people.csv", "id,name,age,born\n1,New,30,\n")
    lab.rows("UPDATE decant.loads SET attempt = %s RETURNING 1", attempt)
    assert lab.ingest("people.people").status == "published"
    assert lab.rows("SELECT name FROM people_v1.people") == [(name,)]


def test_a_watched_input_that_was_interrupted_has_new_data_and_one_that_failed_has_none(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(WATCHED)
    dataset = lab.dataset("people.people")
    os.utime(lab.write("people-1.csv", "id,name,age,born\n1,Ann,30,\n"), (1e9, 1e9))
    for error, new_data in ((OSError(errno.ENOSPC, "full"), True), (PermissionError(errno.EACCES, "no"), False)):
        with monkeypatch.context() as patch:
            raise_once(patch, caller_of("parse_landed"), "parse_landed", error)
            assert load_all(lab)[0].status == "failed"
        assert has_new_data(lab.loader(), dataset) is new_data


@pytest.mark.slow
def test_one_dataset_that_cannot_be_pruned_keeps_no_other_from_it(town: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = TOWN.replace("slaProperties:\n", "slaProperties:\n  - {property: retention, value: 1, unit: d}\n")
    (town.settings.contracts / "contract0.odcs.yaml").write_text(contract)
    town.__post_init__()
    raise_once(monkeypatch, retention, "delete_history", TypeError(SECRET))
    seen = prune_datasets(town.loader(), town.catalog.datasets())
    assert [(pruned.dataset, pruned.error is None) for pruned in seen] == [
        ("people@1.people", False),
        ("people@1.pets", True),
    ]


def test_every_kind_is_named_without_a_value_and_only_a_lost_database_is_an_outage() -> None:
    for error, code in FOREIGN.values():
        failure = explain_failure(error)
        assert failure.code == code
        assert SECRET not in str(failure)
        assert not is_outage(error)
    assert is_outage(psycopg.OperationalError("connection failed"))
    assert is_outage(psycopg.errors.AdminShutdown())
    assert explain_failure(FOREIGN["DuckDB's memory"][0]).args[0].count("DECANT_DUCKDB_MEMORY") == 1
    assert "Permission denied: /x/records.csv" in str(explain_failure(FOREIGN["permission"][0]))
