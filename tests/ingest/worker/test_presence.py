"""A worker says that it is alive, and that it ended; one that is long gone is forgotten."""

from __future__ import annotations

from typing import Any

from ingest.worker.presence import keep_present
from runtime.postgres.database import make_engine
from tests.support.lab import Lab
from tests.support.waiting import wait_until

ROWS = "SELECT concurrency, ended_at IS NULL, seen_at >= started_at FROM decant.workers ORDER BY id"


def test_a_worker_is_seen_while_it_works_and_has_ended_afterwards(lab: Lab) -> None:
    lab.rows("INSERT INTO decant.workers (host, concurrency, seen_at) VALUES ('old', 1, now() - interval '8 days'),"
             " ('lately', 2, now() - interval '6 days') RETURNING 1")  # fmt: skip
    engine = make_engine(lab.urls.ingest)

    def rows() -> list[tuple[Any, ...]]:
        return lab.rows(ROWS)

    with keep_present(engine, 3):
        wait_until(lambda: len(rows()) == 2 and rows()[-1][0] == 3)
        assert rows()[-1] == (3, True, True)
    assert rows() == [(2, True, False), (3, False, True)]


def test_a_database_that_is_away_holds_up_no_worker(lab: Lab) -> None:
    engine = make_engine("postgresql://nobody@127.0.0.1:1/none")
    with keep_present(engine, 1):
        pass
    assert lab.rows(ROWS) == []
