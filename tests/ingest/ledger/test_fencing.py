"""A loader that slept while another was given its dataset: whatever it does when it wakes changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa

from ingest.errors import DatasetBusyError
from ingest.ledger import lease
from ingest.ledger.lease import lock_dataset
from ingest.loading.load_report import LoadReport
from ingest.loading.workspace import drop_staged
from runtime.postgres.database import make_engine
from tests.support.lab import Lab
from tests.support.load_steps import caller_of
from tests.support.people import WATCHED
from tests.support.queued_loads import queue_load

ONE = "id,name,age,born\n1,Ann,30,\n"
TWO = "id,name,age,born\n2,Ben,40,\n"
BROKEN: list[int] = []
# Where it falls asleep; the first three are all that a batch which brings nothing new passes.
POINTS = ("note_landed", "end_unchanged", "close_load", "parse_landed", "stage", "publish_or_withhold")


def write(lab: Lab, name: str, content: str, at: int) -> None:
    os.utime(lab.write(name, content), (at, at))


def overtake(lab: Lab, *, same_row: bool) -> LoadReport:
    """Another process loads the dataset, once the sleeper's lease has run out."""
    lab.rows("UPDATE decant.loads SET lease_until = now() - interval '1 hour' WHERE status = 'running' RETURNING 1")
    write(lab, "people-2.csv", TWO, 1_000_002_000)
    dataset = lab.dataset("people.people")
    load_id = None if same_row else queue_load(make_engine(lab.urls.ingest), dataset, "ingest")
    return lab.loader().run(dataset, load_id=load_id)


def broken(*_arguments: Any) -> str:
    """Fails; the one that comes after it does not."""
    if not BROKEN:
        BROKEN.append(1)
        raise ZeroDivisionError
    return "cleaning"


def state(lab: Lab) -> list[list[tuple[Any, ...]]]:
    """All that the sleeper must leave as it is."""
    return [
        lab.rows("SELECT id, name, age, _revision, _load FROM people_v1.people ORDER BY id"),
        lab.rows("SELECT revision, record_count FROM decant.datasets"),
        lab.rows("SELECT position FROM decant.input_states"),
    ]


@pytest.mark.sampled
@pytest.mark.parametrize("same_row", [True, False])
def test_a_sleeper_that_was_overtaken_changes_nothing(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, *, same_row: bool
) -> None:
    lab = make_lab(WATCHED)
    write(lab, "people-1.csv", ONE, 1_000_000_000)
    assert lab.ingest("people.people").status == "published"
    BROKEN.clear()
    for turn, point in enumerate(POINTS):
        brings_nothing = point in POINTS[:3]
        lab.write("people-2.csv", "").unlink()
        content = ONE if brings_nothing else ONE.replace("30", str(31 + turn))
        if brings_nothing:
            write(lab, "people-1.csv", content, 1_000_000_000)
            lab.ingest("people.people")
        write(lab, "people-1.csv", content, 1_000_000_100 + turn)
        seen: list[Any] = []
        original = getattr(caller_of(point), point)

        def sleeps(*arguments: Any, **options: Any) -> Any:
            if not seen:  # noqa: B023
                seen.append(None)  # noqa: B023
                seen.append(overtake(lab, same_row=same_row))  # noqa: B023
                seen.append(state(lab))  # noqa: B023
            return original(*arguments, **options)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(caller_of(point), point, sleeps)
            if point == "close_load":
                patch.setattr(
                    caller_of("digest_cleaning"), "digest_cleaning", broken
                )  # while it tells that it failed
            report = lab.loader().run(lab.dataset("people.people"))
        _, other, left = seen
        assert other.status in {"published", "unchanged"}, point
        assert state(lab) == left, point
        assert (report.status, report.error_code) == ("failed", "load_superseded"), point
        rows = dict(lab.rows("SELECT id, status FROM decant.loads"))
        assert rows[other.load_id] == other.status, point
        assert "running" not in rows.values(), point
        assert lab.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'decant_staging'") == [], point
        assert list(lab.settings.work_folder.glob("load-*")) == [], point


def test_what_one_attempt_leaves_about_is_never_anothers(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sleeper wakes and tidies up while the one that overtook it is in the middle of its work."""
    lab = make_lab(WATCHED)
    write(lab, "people-1.csv", ONE, 1_000_000_000)
    lab.ingest("people.people")
    write(lab, "people-1.csv", ONE.replace("30", "31"), 1_000_000_100)
    stage, waiting = caller_of("stage").stage, []

    def tidies_up(*arguments: Any) -> None:
        stage(*arguments)
        if not waiting:
            # The first attempt has staged its records; the next one stages its own, under the same load.
            waiting.append(arguments)
            waiting.append(overtake(lab, same_row=True))
            return
        first, _ = waiting[0]
        drop_staged(first.engine, first.staging.name)

    monkeypatch.setattr(caller_of("stage"), "stage", tidies_up)
    assert lab.loader().run(lab.dataset("people.people")).error_code == "load_superseded"
    assert waiting[1].status == "published"
    assert waiting[1].load_id == waiting[0][0].ticket.load_id


def test_a_lock_whose_holder_ends_while_it_is_asked_for_is_held(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, engine, holder = lab.dataset("people.people"), make_engine(lab.urls.ingest), ExitStack()
    holder.enter_context(lock_dataset(engine, dataset))
    looks_for_holder = lease.is_awake

    def ends_before_the_look(connection: sa.Connection, dataset_id: int) -> bool:
        holder.close()
        return looks_for_holder(connection, dataset_id)

    monkeypatch.setattr(lease, "is_awake", ends_before_the_look)
    with lock_dataset(engine, dataset), pytest.raises(DatasetBusyError), lock_dataset(engine, dataset):
        pass
