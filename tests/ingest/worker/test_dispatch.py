"""Sweeps over a real ledger: what gets queued, and what gets a job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from catalog.model.load_request import Replay
from ingest.errors import IngestError, SourceUnavailableError
from ingest.ledger.lease import lock_dataset
from ingest.loading.run_queued import run_queued
from ingest.worker.dispatch import Dispatcher
from ingest.worker.housekeeping import run_housekeeping
from ingest.worker.watch_inputs import find_new_data
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab
from tests.support.load_steps import caller_of
from tests.support.people import DERIVED, GOOD, HOURLY, WATCHED
from tests.support.queued_loads import queue_load

JOBS = "SELECT (args->>'load_id')::int, status::text FROM decant_queue.procrastinate_jobs ORDER BY id"
NOON = datetime(2027, 1, 1, 12, 0, tzinfo=UTC)


def dispatcher(lab: Lab) -> Dispatcher:
    return Dispatcher(make_engine(lab.urls.ingest), lab.catalog)


def loads(lab: Lab) -> list[tuple[object, ...]]:
    return lab.rows(
        "SELECT l.id, d.dataset, l.kind, l.status FROM decant.loads l"
        " JOIN decant.datasets d ON d.id = l.dataset_id ORDER BY l.id"
    )


def work(lab: Lab, sweeper: Dispatcher, deferred: list[int] | None = None) -> list[str | None]:
    """Runs what is due until nothing is, as a worker would, without its processes."""
    ended = []
    deferred = deferred or sweeper.sweep().deferred
    while deferred:
        for load_id in deferred:
            ended.append(run_queued(lab.loader(), load_id))
            jobs = "DELETE FROM decant_queue.procrastinate_jobs WHERE args->>'load_id' = %s RETURNING 1"
            lab.rows(jobs, str(load_id))
        deferred = sweeper.sweep().deferred
    return ended


def test_a_queued_load_gets_one_job_however_often_and_by_whomever_the_ledger_is_swept(lab: Lab) -> None:
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest", requested_by="me")
    sweepers = [dispatcher(lab), dispatcher(lab)]
    found = [sweeper.sweep().deferred for _ in range(3) for sweeper in sweepers]
    assert found == [[load_id], [], [], [], [], []]
    assert lab.rows(JOBS) == [(load_id, "todo")]


def test_a_queued_load_whose_job_was_lost_gets_another(lab: Lab) -> None:
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    sweeper = dispatcher(lab)
    sweeper.sweep()
    lab.rows("DELETE FROM decant_queue.procrastinate_jobs RETURNING 1")
    assert sweeper.sweep().deferred == [load_id]


def test_the_job_of_a_worker_that_is_gone_is_given_to_another(lab: Lab) -> None:
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    sweeper = dispatcher(lab)
    sweeper.sweep()
    lab.rows("INSERT INTO decant_queue.procrastinate_workers DEFAULT VALUES RETURNING 1")
    lab.rows("UPDATE decant_queue.procrastinate_jobs SET status = 'doing', worker_id = 1 RETURNING 1")
    assert sweeper.sweep().deferred == []
    lab.rows("UPDATE decant_queue.procrastinate_workers SET last_heartbeat = now() - interval '1 minute' RETURNING 1")
    assert sweeper.sweep().deferred == [load_id]
    assert lab.rows(JOBS) == [(load_id, "todo")]


def test_a_dataset_that_somebody_loads_is_left_alone_until_that_is_over(lab: Lab) -> None:
    dataset = lab.dataset("people.people")
    load_id = queue_load(make_engine(lab.urls.ingest), dataset, "ingest")
    sweeper = dispatcher(lab)
    with lock_dataset(make_engine(lab.urls.ingest), dataset):
        assert sweeper.sweep().deferred == []
        assert run_queued(lab.loader(), load_id) is None
        assert loads(lab)[0][3] == "queued"
    assert sweeper.sweep().deferred == [load_id]


def test_a_load_that_has_ended_is_not_run_again(lab: Lab) -> None:
    lab.write("people.csv", GOOD)
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    assert run_queued(lab.loader(), load_id) == "published"
    assert run_queued(lab.loader(), load_id) is None
    with pytest.raises(IngestError, match="has ended already"):
        lab.loader().run(lab.dataset("people.people"), load_id=load_id)
    assert lab.rows("SELECT attempt, status FROM decant.loads") == [(1, "published")]


def test_each_tick_of_a_schedule_makes_one_load_and_missed_ticks_make_one_together(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(HOURLY)
    sweepers = [dispatcher(lab), dispatcher(lab)]

    def sweep(at: datetime) -> int:
        return sum(len(sweeper.sweep(now=at).queued) for sweeper in sweepers)

    def finish() -> None:
        lab.rows("UPDATE decant.loads SET status = 'published', started_at = scheduled_at RETURNING 1")

    assert sweep(NOON) == 1
    assert sweep(NOON + timedelta(seconds=30)) == 0
    finish()
    assert sweep(NOON + timedelta(minutes=59)) == 0
    assert sweep(NOON + timedelta(minutes=60)) == 1
    finish()
    assert sweep(NOON + timedelta(hours=5, minutes=1)) == 1
    ticks = lab.rows("SELECT scheduled_at FROM decant.loads ORDER BY id")
    assert [row[0] for row in ticks] == [NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=5)]


def test_a_dataset_of_several_schedules_is_loaded_at_the_ticks_of_each(make_lab: Callable[..., Lab]) -> None:
    rare = "  - {property: frequency, value: 1, unit: d, scheduler: cron, schedule: '30 3 * * *'}\n"
    lab = make_lab(HOURLY + rare)
    for at in (NOON, NOON + timedelta(hours=1), NOON + timedelta(hours=15, minutes=30)):
        assert len(dispatcher(lab).sweep(now=at).queued) == 1
        lab.rows("UPDATE decant.loads SET status = 'published', started_at = scheduled_at RETURNING 1")
        assert lab.rows("SELECT max(scheduled_at) FROM decant.loads") == [(at,)]


def test_a_tick_is_not_missed_where_somebody_loaded_by_hand_since(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(HOURLY)
    lab.ingest("people.people", GOOD)
    lab.rows("UPDATE decant.loads SET started_at = %s RETURNING 1", NOON + timedelta(minutes=1))
    assert dispatcher(lab).sweep(now=NOON + timedelta(minutes=2)).queued == []
    assert len(dispatcher(lab).sweep(now=NOON + timedelta(minutes=61)).queued) == 1


@pytest.mark.parametrize("status", ["queued", "unchanged"])
def test_a_tick_is_not_missed_where_a_load_that_reads_no_input_ran_since(
    make_lab: Callable[..., Lab], status: str
) -> None:
    lab = make_lab(HOURLY)
    lab.loader().run(lab.dataset("people.people"), request=Replay())
    lab.rows("UPDATE decant.loads SET status = %s, started_at = %s RETURNING 1", status, NOON + timedelta(minutes=1))
    assert len(dispatcher(lab).sweep(now=NOON + timedelta(minutes=2)).queued) == 1


@pytest.mark.slow
def test_derived_datasets_follow_what_they_read_in_order_and_rest_when_nothing_changed(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(DERIVED)
    sweeper = dispatcher(lab)
    assert work(lab, sweeper) == []
    lab.ingest("people.people", GOOD)
    assert work(lab, sweeper) == ["published", "published"]
    assert [row[1:3] for row in loads(lab)[1:]] == [("ages", "refresh"), ("oldest", "refresh")]
    assert lab.rows("SELECT age FROM people_v1.oldest") == [(30,)]
    assert work(lab, sweeper) == []
    lab.ingest("people.people", GOOD.replace("30", "31"))
    assert work(lab, sweeper) == ["published", "published"]
    assert lab.rows("SELECT age FROM people_v1.oldest") == [(31,)]


@pytest.mark.slow
def test_a_derived_dataset_whose_query_fails_is_not_tried_again_before_something_changes(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(DERIVED.replace("count(*) as people", "1 / (age - 30) as people"))
    sweeper = dispatcher(lab)
    lab.ingest("people.people", GOOD)
    assert work(lab, sweeper) == ["failed"]
    assert work(lab, sweeper) == []
    lab.ingest("people.people", GOOD.replace("30", "31"))
    assert work(lab, sweeper) == ["published", "published"]


def test_a_contract_that_was_not_migrated_is_not_loaded(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    lab.rows("UPDATE decant.datasets SET contract_sha256 = 'another' RETURNING 1")
    swept = dispatcher(lab).sweep()
    assert (swept.deferred, swept.outdated) == ([], {"people@1.people"})


def test_a_failure_in_passing_is_tried_five_times_and_then_failed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_place: object) -> object:
        raise SourceUnavailableError()

    monkeypatch.setattr(caller_of("open_batch"), "open_batch", unreachable)
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    sweeper = dispatcher(lab)
    ended = []
    for _ in range(5):
        ended += work(lab, sweeper)
        assert sweeper.sweep().deferred == []
        lab.rows("UPDATE decant.loads SET retry_at = now() WHERE retry_at IS NOT NULL RETURNING 1")
    assert ended == ["retry"] * 4 + ["failed"]
    (row,) = lab.rows("SELECT id, status, attempt, error_code FROM decant.loads")
    assert row == (load_id, "failed", 5, "source_unavailable")


def test_a_load_that_landed_before_a_later_one_was_published_reads_its_input_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("people.csv", GOOD)
    first = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")

    def gone(*_arguments: object, **_options: object) -> object:
        raise SourceUnavailableError()

    with monkeypatch.context() as patch:
        patch.setattr(caller_of("parse_landed"), "parse_landed", gone)
        assert run_queued(lab.loader(), first) == "retry"
    lab.ingest("people.people", GOOD.replace("Ann", "Anna"))
    assert run_queued(lab.loader(), first) == "unchanged"
    assert lab.rows("SELECT name FROM people_v1.people WHERE id = 1") == [("Anna",)]


def test_a_load_that_crashes_is_tried_again_and_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> object:
        raise ZeroDivisionError("a secret value")

    lab.write("people.csv", GOOD)
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    with monkeypatch.context() as patch:
        patch.setattr(caller_of("parse_landed"), "parse_landed", broken)
        assert run_queued(lab.loader(), load_id) == "retry"
    ((status, code, error),) = lab.rows("SELECT status, error_code, error FROM decant.loads")
    assert (status, code) == ("queued", "internal_error")
    assert "secret" not in error
    assert run_queued(lab.loader(), load_id) == "published"
    assert lab.rows("SELECT attempt, error FROM decant.loads") == [(2, None)]


def test_a_watched_folder_is_loaded_when_a_file_comes_and_once_only(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(WATCHED)
    sweeper = dispatcher(lab)

    def work_new_data() -> list[str | None]:
        return work(lab, sweeper, sweeper.sweep(new_data=find_new_data(lab.loader())).deferred)

    assert work_new_data() == []
    for name, text in (("people-1.csv", GOOD), ("people-2.csv", "id,name,age,born\n3,Cy,41,\n")):
        long_ago = time.time() - 3600
        os.utime(lab.write(name, text), (long_ago, long_ago))
    assert work_new_data() == ["published", "published"]
    assert work_new_data() == []
    assert lab.rows("SELECT count(*) FROM people_v1.people") == [(3,)]


def test_a_watched_file_that_was_withheld_is_not_tried_again_before_it_changes(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(WATCHED.replace("{property: maxRejected, value: 100}", "{property: maxRejected, value: 0}"))
    sweeper = dispatcher(lab)

    def work_new_data() -> list[str | None]:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        return work(lab, sweeper, sweeper.sweep(now=tomorrow, new_data=find_new_data(lab.loader())).deferred)

    long_ago = time.time() - 3600
    os.utime(lab.write("people-1.csv", GOOD + "x,,1,\n"), (long_ago, long_ago))
    assert work_new_data() == ["withheld"]
    assert work_new_data() == []
    os.utime(lab.write("people-1.csv", GOOD), (long_ago, long_ago))
    assert work_new_data() == ["published"]


def test_a_load_that_no_worker_survives_is_given_up(lab: Lab) -> None:
    load_id = queue_load(make_engine(lab.urls.ingest), lab.dataset("people.people"), "ingest")
    lab.rows("UPDATE decant.loads SET status = 'running', attempt = 25 RETURNING 1")
    assert dispatcher(lab).sweep().lost == [load_id]
    assert lab.rows("SELECT status, error_code FROM decant.loads") == [("failed", "worker_lost")]


@pytest.mark.slow
def test_what_the_contract_no_longer_keeps_goes_while_the_worker_tidies_up(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE + "slaProperties:\n  - {property: retention, value: 1, unit: d}\n")
    for name in ("Ann", "Anna", "Hanna"):
        lab.ingest("people.people", GOOD.replace("Ann", name))
    lab.rows("UPDATE decant.revisions SET published_at = published_at - interval '3 days' RETURNING 1")
    assert lab.rows("SELECT count(*) FROM people_v1.people_history") == [(2,)]
    run_housekeeping(lab.loader())
    assert lab.rows("SELECT count(*) FROM people_v1.people_history") == [(0,)]
