"""Many datasets with schedules and watched inputs, and the workers that share them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count as count_from
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from ingest.worker import watch_inputs
from ingest.worker.dispatch import Dispatcher
from ingest.worker.watch_inputs import LEASE_SECONDS, TAKEN_AT_ONCE, find_due_inputs, note_watched, set_due, take_due
from runtime.postgres.database import make_engine
from tests.support.lab import Lab
from tests.support.people import GOOD, HOURLY, WATCHED


def multiply(contract: str, count: int) -> str:
    """The contract of one dataset with `count` of them; each has files of its own."""
    head, schema = contract.split("schema:\n")
    one, rest = schema.split("roles:\n")
    copies = (
        one.replace("- name: people", f"- name: people_{n}", 1).replace("people-*.csv", f"p{n}-*.csv")
        for n in range(count)
    )
    return f"{head}schema:\n{''.join(copies)}roles:\n{rest}"


def test_each_watched_input_is_looked_at_by_one_worker_in_a_pause(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(WATCHED)
    long_ago = time.time() - 3600
    os.utime(lab.write("people-1.csv", GOOD), (long_ago, long_ago))
    dataset, engine = lab.dataset("people.people"), make_engine(lab.urls.ingest)
    known = list(note_watched(engine, {(dataset.product, dataset.major, dataset.name): dataset}))
    barrier = threading.Barrier(4)

    def take() -> list[int]:
        barrier.wait(30)
        return take_due(engine, known)

    with ThreadPoolExecutor(4) as threads:
        taken = [number for found in threads.map(lambda _: take(), range(4)) for number in found]
    assert len(taken) == 1, "four workers asked at once"
    assert take_due(engine, known) == [], "it is being looked at"
    set_due(engine, taken, 0)
    assert find_due_inputs(lab.loader(), 3600) == [dataset]
    assert find_due_inputs(lab.loader(), 3600) == [], "it was looked at just now"
    # A worker that is lost while it looks keeps the others waiting until its lease ends.
    lab.rows("UPDATE decant.watched_inputs SET due_at = due_at - interval '1 hour' RETURNING 1")
    assert take_due(engine, known) == taken
    ((seconds,),) = lab.rows("SELECT extract(epoch FROM due_at - now()) FROM decant.watched_inputs")
    assert 0 < seconds <= LEASE_SECONDS
    lab.rows("UPDATE decant.watched_inputs SET due_at = due_at - interval '1 minute' RETURNING 1")
    assert find_due_inputs(lab.loader(), 3600) == [dataset]


def test_a_lease_is_renewed_between_looks_that_take_long(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count_from(0, LEASE_SECONDS / 2)
    renewed: list[float] = []
    monkeypatch.setattr(watch_inputs, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(watch_inputs, "has_new_data", lambda *_: False)
    monkeypatch.setattr(watch_inputs, "set_due", lambda engine, numbers, seconds: renewed.append(seconds))
    assert find_due_inputs(make_lab(multiply(WATCHED, 3)).loader(), 3600) == []
    assert renewed[:-1] == [LEASE_SECONDS] * 3


@pytest.mark.slow
def test_more_watched_inputs_than_are_taken_at_once_are_all_looked_at(make_lab: Callable[..., Lab]) -> None:
    count = TAKEN_AT_ONCE * 2 + 1
    lab = make_lab(multiply(WATCHED, count))
    long_ago = time.time() - 3600
    for n in range(count):
        os.utime(lab.write(f"p{n}-1.csv", GOOD), (long_ago, long_ago))
    loader = lab.loader()
    assert sorted(dataset.name for dataset in find_due_inputs(loader, 3600)) == sorted(
        f"people_{n}" for n in range(count)
    )
    assert find_due_inputs(loader, 3600) == []


@pytest.mark.slow
def test_schedules_of_many_datasets_are_looked_at_in_one_statement(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(multiply(HOURLY, 20))
    sweeper = Dispatcher(make_engine(lab.urls.ingest), lab.catalog)
    asked: list[str] = []
    sa.event.listen(sweeper.engine, "before_cursor_execute", lambda *facts: asked.append(facts[2]))
    now = datetime(2027, 1, 1, 12, 0, tzinfo=UTC)
    swept = sweeper.sweep(now=now)
    assert (swept.ticks, sum("unnest(" in text for text in asked)) == (20, 1)
    asked.clear()
    assert sweeper.sweep(now=now).ticks == 0
    assert len(asked) < 20
