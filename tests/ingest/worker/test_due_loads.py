"""Which unfinished loads get a job: decided without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.ledger.lease import LEASE_SECONDS
from ingest.ledger.retry_policy import MAX_ATTEMPTS, MAX_LOST_ATTEMPTS, choose_delay, end_attempt
from ingest.worker.due_loads import Unfinished, choose_due, is_held, is_lost_for_good

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
SOON, BEFORE = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)


def load(number: int, dataset: int, **facts: Any) -> Unfinished:
    known: dict[str, Any] = {"status": "queued", "attempt": 0, "started_at": BEFORE, "retry_at": None}
    return Unfinished(number, dataset, **(known | {"lease_until": None} | facts))


def running(number: int, dataset: int, **facts: Any) -> Unfinished:
    return load(number, dataset, **({"status": "running", "attempt": 1, "lease_until": SOON} | facts))


def due(
    *loads: Unfinished,
    needs: dict[int, set[int]] | None = None,
    silent: dict[int, float] | None = None,
    with_job: set[int] | None = None,
) -> list[int]:
    return [found.id for found in choose_due(loads, needs or {}, silent or {}, with_job or set(), NOW)]


def test_queued_loads_of_several_datasets_are_due_at_once_and_those_of_one_in_turn() -> None:
    assert due(load(3, 1), load(1, 1), load(2, 2)) == [1, 2]


def test_a_load_that_has_a_job_gets_no_second_one_nor_does_its_dataset() -> None:
    assert due(load(1, 1), load(2, 1), load(3, 2), with_job={1}) == [3]


def test_a_load_whose_worker_is_gone_is_due_again() -> None:
    assert due(running(1, 1)) == [1]


def test_a_load_that_is_held_is_left_alone_until_its_lease_is_over() -> None:
    assert due(running(1, 1), silent={1: 3000.0}) == []
    assert due(running(1, 1, lease_until=BEFORE), silent={1: 3000.0}) == [1]


def test_a_dataset_that_is_held_without_a_load_is_left_alone_while_its_holder_is_awake() -> None:
    assert due(load(1, 1), silent={1: 5.0}) == []
    assert due(load(1, 1), silent={1: LEASE_SECONDS + 1.0}) == [1]


def test_a_child_waits_for_older_loads_of_its_parent() -> None:
    needs = {2: {1}}
    assert due(load(1, 1), load(2, 2), needs=needs) == [1]
    assert due(load(2, 1), load(1, 2), needs=needs) == [1, 2]
    assert due(running(1, 1), load(2, 2), needs=needs, silent={1: 0.0}) == []


def test_a_child_does_not_wait_for_a_parent_that_itself_waits_to_be_tried_again() -> None:
    assert due(load(1, 1, retry_at=SOON), load(2, 2), needs={2: {1}}) == [2]


def test_a_load_that_failed_in_passing_is_due_when_its_time_has_come() -> None:
    assert due(load(1, 1, retry_at=SOON, attempt=1)) == []
    assert due(load(1, 1, retry_at=BEFORE, attempt=1)) == [1]


def test_a_load_that_loses_worker_after_worker_is_tried_ever_more_slowly_and_then_given_up() -> None:
    early = NOW - timedelta(seconds=1)
    assert due(running(1, 1, attempt=MAX_ATTEMPTS - 1, started_at=early)) == [1]
    assert due(running(1, 1, attempt=MAX_ATTEMPTS + 3, started_at=early)) == []
    hopeless = running(1, 1, attempt=MAX_LOST_ATTEMPTS)
    assert is_lost_for_good(hopeless, {}, NOW)
    assert not is_lost_for_good(hopeless, {1: 0.0}, NOW)


loads = st.builds(
    Unfinished,
    id=st.integers(1, 30),
    dataset_id=st.integers(1, 5),
    status=st.sampled_from(["queued", "running"]),
    attempt=st.integers(0, 30),
    started_at=st.sampled_from([NOW - timedelta(days=1), BEFORE, NOW]),
    retry_at=st.sampled_from([None, BEFORE, SOON]),
    lease_until=st.sampled_from([None, BEFORE, SOON]),
)


@given(
    st.lists(loads, max_size=12, unique_by=lambda found: found.id),
    st.dictionaries(st.integers(1, 5), st.sets(st.integers(1, 5), max_size=3)),
    st.dictionaries(st.integers(1, 5), st.sampled_from([0.0, 1000.0])),
    st.sets(st.integers(1, 30), max_size=4),
)
def test_no_dataset_is_ever_given_two_jobs_and_no_load_runs_before_an_older_one_that_it_needs(
    unfinished: list[Unfinished], needs: dict[int, set[int]], silent: dict[int, float], with_job: set[int]
) -> None:
    chosen = list(choose_due(unfinished, needs, silent, with_job, NOW))
    by_id = {found.id: found for found in unfinished}
    datasets = [found.dataset_id for found in chosen]
    assert len(set(datasets)) == len(datasets)
    assert not set(datasets) & {by_id[number].dataset_id for number in with_job if number in by_id}
    for found in chosen:
        assert not is_held(found, silent, NOW)
        assert all(o.id > found.id for o in chosen if o.dataset_id in needs.get(found.dataset_id, ()) and o != found)


@given(st.integers(1, 30))
def test_delays_grow_to_a_cap_and_scatter(attempt: int) -> None:
    assert 3.75 <= choose_delay(attempt) <= 750


def test_five_attempts_in_passing_are_all() -> None:
    ends = [end_attempt("source_unavailable", "x", attempt, transient=True)["status"] for attempt in range(1, 7)]
    assert ends == ["queued"] * 4 + ["failed"] * 2
    assert end_attempt("missing_columns", "x", 1, transient=False)["status"] == "failed"
