"""A restored database that several processes find at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.storage.high_water import (
    RestoredDatabase,
    check_restored,
    read_high_water_mark,
    write_high_water_mark,
)
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab
from tests.support.waiting import wait_until

FIRST = "id,name,age,born\n1,Ann,30,\n"
OTHERS = PEOPLE.replace("people", "others").replace("others.csv", "people.csv")
WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO decant.epochs%'"


@pytest.mark.sampled
@pytest.mark.parametrize(("hosts", "ends"), [(1, "commit"), (2, "commit"), (1, "rollback")])
def test_two_loads_that_find_one_restore_begin_one_epoch(
    make_lab: Callable[..., Lab], tmp_path: Path, hosts: int, ends: str
) -> None:
    lab = make_lab(PEOPLE, OTHERS)
    homes = [lab.settings, lab.settings.model_copy(update={"home": tmp_path / "another-host"})]
    chosen = [homes[0], homes[hosts - 1]]
    datasets = [lab.dataset("people.people"), lab.dataset("others.others")]
    for settings, dataset in zip(chosen, datasets, strict=True):
        lab.ingest(dataset.address, FIRST)
        mark = read_high_water_mark(lab.settings.high_water_folder, dataset)
        assert mark is not None
        write_high_water_mark(settings.high_water_folder, dataset, replace(mark, revision=9))
    engine = make_engine(lab.urls.ingest)

    def find(number: int) -> RestoredDatabase | None:
        with engine.begin() as connection:
            return check_restored(connection, chosen[number], [datasets[number]], "loader")

    with ThreadPoolExecutor(1) as threads, engine.connect() as connection:
        first = check_restored(connection, chosen[0], [datasets[0]], "loader")
        second = threads.submit(find, 1)
        wait_until(lambda: bool(lab.rows(WAITING)))
        getattr(connection, ends)()
        found = second.result()
    assert first is not None
    assert found is not None
    assert (first.epoch == found.epoch) is (ends == "commit")
    # Who comes later finds nothing more, on whichever host.
    assert [find(number) for number in (0, 1)] == [None, None]
    assert len(lab.rows("SELECT 1 FROM decant.epochs")) == 2
    assert len(lab.rows("SELECT 1 FROM decant.audit_log WHERE operation = 'new epoch'")) == 1
