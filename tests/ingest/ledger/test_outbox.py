"""The outbox: what is told of loads and revisions, in which order, and that no reader misses any of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from catalog.model.load_request import Erase, PublishWithheld
from catalog.storage.outbox import last_sequence, read_events, tell
from ingest.errors import SourceUnavailableError
from ingest.ledger.outbox import move_cursor, number_events, open_cursor, prune_outbox
from ingest.ledger.queue import insert_load
from ingest.ledger.retry_policy import MAX_ATTEMPTS, MAX_LOST_ATTEMPTS
from ingest.loading.run_queued import run_queued
from ingest.worker.dispatch import Dispatcher
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab
from tests.support.load_steps import caller_of
from tests.support.queued_loads import queue_load

HEADER = "id,name,age,born\n"
FEW = HEADER + "".join(f"{n},Ann,30,1990-01-31\n" for n in range(4))
STRICT = PEOPLE.replace("{property: maxRejected, value: 100}", "{property: maxRejected, value: 10}")
TOLD = "SELECT kind, product, major, dataset, facts FROM decant.outbox ORDER BY id"


@pytest.fixture
def engine(lab: Lab) -> Iterator[sa.Engine]:
    engine = make_engine(lab.urls.ingest)
    yield engine
    engine.dispose()


def told(lab: Lab) -> list[tuple[str, dict[str, Any]]]:
    """Kind and facts of every event; each is about the lab's dataset."""
    rows = lab.rows(TOLD)
    assert {row[1:4] for row in rows} <= {("people", 1, "people")}
    return [(row[0], row[4]) for row in rows]


def read_new(engine: sa.Engine, cursor: int) -> list[Any]:
    with engine.begin() as connection:
        return read_events(connection, cursor, 100)


def test_publications_and_withdrawals_are_told_and_what_changes_nothing_is_not(lab: Lab) -> None:
    lab.ingest("people.people", FEW)
    lab.ingest("people.people", FEW)  # unchanged
    lab.loader().run(lab.dataset("people.people"), request=Erase(("1",)))
    ((epoch,),) = lab.rows("SELECT epoch FROM decant.epochs")
    assert told(lab) == [
        (
            "revision.published",
            {
                "revision": 1,
                "epoch": epoch,
                "load": 1,
                "counts": {"inserted": 4, "updated": 0, "deleted": 0, "records": 4},
            },
        ),
        (
            "revision.published",
            {
                "revision": 2,
                "epoch": epoch,
                "load": 3,
                "counts": {"inserted": 0, "updated": 0, "deleted": 1, "records": 3},
            },
        ),
    ]
    published = "SELECT published_at FROM decant.revisions ORDER BY revision"
    assert lab.rows(published) == lab.rows("SELECT created_at FROM decant.outbox ORDER BY id")


def test_a_withheld_load_is_told_with_its_rules_alone_and_its_publication_when_it_comes(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(STRICT)
    lab.ingest("people.people", FEW + "x,Secret,30,\n")
    lab.loader().run(lab.dataset("people.people"), request=PublishWithheld(1))
    (kind, facts), (later, _) = told(lab)
    assert (kind, later) == ("load.withheld", "revision.published")
    (rule,) = facts.pop("rules")
    assert facts == {"load": 1}
    assert (rule["rule"], rule["measured"], set(rule)) == ("maxRejected", 20.0, {"rule", "measured", "bound"})
    assert "Secret" not in str(facts)


def test_a_failed_load_is_told_once_after_its_last_attempt_without_its_message(
    lab: Lab, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise SourceUnavailableError("secret words of the source")

    load_id = queue_load(engine, lab.dataset("people.people"), "ingest")
    monkeypatch.setattr(caller_of("parse_landed"), "parse_landed", fail)
    lab.write("people.csv", FEW)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert told(lab) == []
        assert run_queued(lab.loader(), load_id) == ("failed" if attempt == MAX_ATTEMPTS else "retry")
    code = SourceUnavailableError.code
    assert told(lab) == [
        ("load.failed", {"load": load_id, "kind": "ingest", "error_code": code, "attempts": MAX_ATTEMPTS})
    ]


def test_a_load_that_no_worker_survives_is_told_and_left_while_its_dataset_is_published(
    lab: Lab, engine: sa.Engine
) -> None:
    load_id = queue_load(engine, lab.dataset("people.people"), "ingest")
    lab.rows("UPDATE decant.loads SET status = 'running', attempt = %s RETURNING 1", MAX_LOST_ATTEMPTS)
    sweeper = Dispatcher(engine, lab.catalog)
    with engine.begin() as publishing:
        publishing.execute(sa.text("SELECT FROM decant.datasets FOR NO KEY UPDATE"))
        assert sweeper.sweep().lost == []
    assert told(lab) == []
    assert sweeper.sweep().lost == [load_id]
    assert sweeper.sweep().lost == []
    ((kind, facts),) = told(lab)
    assert (kind, facts["error_code"], facts["attempts"]) == ("load.failed", "worker_lost", MAX_LOST_ATTEMPTS)


def test_an_event_goes_with_the_transaction_that_it_is_about(lab: Lab, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        insert_load(connection, 1, "ingest")
        tell(connection, "load.failed", 1, {"load": 1})
        connection.rollback()
    assert told(lab) == []
    assert number_events(engine) == 0


def test_no_reader_passes_over_an_event_that_is_committed_late(lab: Lab, engine: sa.Engine) -> None:
    with engine.connect() as slow, engine.connect() as quick:
        tell(slow, "load.failed", 1, {"load": 1})
        tell(quick, "load.failed", 1, {"load": 2})
        quick.commit()
        assert number_events(engine) == 1
        (first,) = read_new(engine, 0)
        assert first.facts == {"load": 2}
        slow.commit()
    assert read_new(engine, first.sequence) == []  # nobody reads what has no number yet
    assert number_events(engine) == 1
    (second,) = read_new(engine, first.sequence)
    assert second.facts == {"load": 1}
    assert second.id < first.id


@pytest.mark.slow
def test_numbers_are_given_by_one_process_at_a_time_in_the_order_of_writing(lab: Lab, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for number in range(1500):
            tell(connection, "load.failed", None, {"load": number})
    with engine.begin() as other:
        other.execute(sa.text("SELECT FROM decant.locks WHERE name = 'outbox' FOR UPDATE"))
        assert number_events(engine) == 0
    assert [number_events(engine) for _ in range(3)] == [1000, 500, 0]
    assert lab.rows("SELECT (facts->>'load')::int FROM decant.outbox ORDER BY sequence") == [
        (number,) for number in range(1500)
    ]


def test_a_cursor_begins_at_the_end_and_never_goes_back(lab: Lab, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        tell(connection, "load.failed", None, {"load": 1})
    number_events(engine)
    with engine.begin() as connection:
        start = open_cursor(connection, "test")
        assert start == last_sequence(connection) > 0
        move_cursor(connection, "test", start + 5)
        move_cursor(connection, "test", start)
        assert open_cursor(connection, "test") == start + 5


def test_events_are_forgotten_after_a_week_unless_a_reader_is_not_done_with_them(lab: Lab, engine: sa.Engine) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    with engine.begin() as connection:
        for number in range(4):
            tell(connection, "load.failed", None, {"load": number})
    number_events(engine)
    ages = "UPDATE decant.outbox SET created_at = %s - make_interval(days => 9 - (facts->>'load')::int) RETURNING 1"
    lab.rows(ages, now)
    with engine.begin() as connection:
        lab_start = open_cursor(connection, "slow")
        connection.execute(sa.text("UPDATE decant.outbox_cursors SET sequence = sequence - 3"))
    assert prune_outbox(engine, now) == 1  # of those that are too old, the reader is done with one
    with engine.begin() as connection:
        move_cursor(connection, "slow", lab_start)
    assert prune_outbox(engine, now) == 1
    assert [facts["load"] for _, facts in [(row[0], row[4]) for row in lab.rows(TOLD)]] == [2, 3]
    assert prune_outbox(engine, now + timedelta(days=9)) == 2
    with engine.begin() as connection:
        tell(connection, "load.failed", None, {"load": 9})
    number_events(engine)
    with engine.begin() as connection:
        assert last_sequence(connection) > lab_start  # a number is given once
