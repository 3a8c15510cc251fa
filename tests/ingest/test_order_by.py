"""`orderBy` beyond one batch: the newest record of a key is current, in whatever order the batches come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ingest.keeper as keeper
from tests.ingest.test_replay import mend, replay
from tests.lab import PEOPLE, Lab

UPSERT = PEOPLE.replace("mode: snapshot", "mode: upsert, orderBy: born")
BY_NAME = PEOPLE.replace("mode: snapshot", "mode: upsert, orderBy: name")
HEAD = "id,name,age,born\n"
# (key, day; 0 is none, age)
RECORD = st.tuples(st.integers(1, 4), st.integers(0, 6), st.integers(1, 9))
Record = tuple[int, int, int]


def as_csv(batch: list[Record]) -> str:
    return HEAD + "".join(f"{key},x,{age},{f'2020-01-0{day}' if day else ''}\n" for key, day, age in batch)


def current(lab: Lab) -> dict[int, tuple[int, int]]:
    rows = lab.rows("SELECT id, coalesce(extract(day FROM born), 0)::int, age FROM people_v1.people")
    return {key: (day, age) for key, day, age in rows}


def model(batches: list[list[Record]]) -> dict[int, tuple[int, int]]:
    """The greatest day of each key; of equal ones the last that came. No day is less than any."""
    state: dict[int, tuple[int, int]] = {}
    for batch in batches:
        for key, day, age in batch:
            if key not in state or day >= state[key][0]:
                state[key] = (day, age)
    return state


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(RECORD, min_size=1, max_size=6), min_size=1, max_size=4), data=st.data())
def test_the_newest_record_of_each_key_is_current_in_any_order_of_batches(
    make_lab: Callable[..., Lab], batches: list[list[Record]], data: st.DataObject
) -> None:
    lab = make_lab(UPSERT)
    for batch in batches:
        report = lab.ingest("people.people", as_csv(batch))
        assert report.outcome
        outcome = report.outcome
        assert outcome.raw == outcome.accepted + outcome.rejected + outcome.duplicates
    assert current(lab) == model(batches)
    # The same batches in another order, under other keys.
    order = [[(key + 10, day, age) for key, day, age in batch] for batch in data.draw(st.permutations(batches))]
    for batch in order:
        lab.ingest("people.people", as_csv(batch))
    found = current(lab)
    assert found == model(batches) | model(order)
    assert all(found[key][0] == found[key + 10][0] for key in model(batches))


@pytest.mark.parametrize("kept", [10_000, 1])
def test_a_late_record_is_a_duplicate_and_said_so(lab_of: Callable[[str], Lab], kept: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(keeper, "KEPT_FROM_RECORDS", kept)  # also with what is kept of the current revision
    lab = lab_of(UPSERT)
    lab.ingest("people.people", as_csv([(1, 5, 50), (2, 5, 50), (3, 0, 50), (4, 5, 50)]))
    late = [(1, 3, 1), (2, 5, 2), (3, 1, 3), (4, 0, 4), (5, 0, 5)]
    report = lab.ingest("people.people", as_csv(late))
    # An older day, the same day, a day where none was, none where one was, a new key.
    assert current(lab) == {1: (5, 50), 2: (5, 2), 3: (1, 3), 4: (5, 50), 5: (0, 5)}
    outcome = report.outcome
    assert outcome
    assert (outcome.raw, outcome.accepted, outcome.rejected, outcome.duplicates, outcome.outdated) == (5, 3, 0, 2, 2)
    assert (outcome.inserted, outcome.updated) == (1, 2)
    assert "2 of the duplicates are older" in " ".join(report.notes)
    assert lab.rows("SELECT raw, accepted, rejected, duplicates FROM decant.loads ORDER BY id DESC LIMIT 1") == [
        (5, 3, 0, 2)
    ]
    # The same file again, in another order: it is as late as it was.
    again = lab.ingest("people.people", as_csv(late[::-1]))
    assert again.status == "unchanged"
    assert current(lab) == {1: (5, 50), 2: (5, 2), 3: (1, 3), 4: (5, 50), 5: (0, 5)}
    lab.ingest("people.people", as_csv([(1, 6, 6)]))
    assert current(lab)[1] == (6, 6)


def test_texts_are_compared_alike_within_a_batch_and_beyond_it(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(BY_NAME)
    names = ["b", "A", "a", "B", "é", "Z", "_"]
    for index, name in enumerate(names):
        lab.ingest("people.people", HEAD + f"1,{name},{index},\n")
    one_batch = HEAD + "".join(f"2,{name},{index},\n" for index, name in enumerate(names))
    lab.ingest("people.people", one_batch)
    assert lab.rows("SELECT name FROM people_v1.people") == [(max(names),)] * 2


@pytest.mark.parametrize(("mode", "age"), [("snapshot", 1), ("append", 50)])
def test_other_modes_keep_their_word(lab_of: Callable[[str], Lab], mode: str, age: int) -> None:
    lab = lab_of(UPSERT.replace("upsert", mode))
    lab.ingest("people.people", as_csv([(1, 5, 50)]))
    lab.ingest("people.people", as_csv([(1, 3, 1)]))
    assert current(lab)[1][1] == age


def test_a_replay_brings_what_is_newer_by_order_and_nothing_older(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(UPSERT.replace("maximum: 150", "maximum: 50"))
    lab.ingest("people.people", as_csv([(1, 5, 90), (2, 2, 90), (3, 4, 90)]))  # all rejected for their age
    lab.ingest("people.people", as_csv([(2, 3, 30), (3, 4, 40)]))
    lab.rows("UPDATE decant.rejected_records SET state = 'open', closed_at = NULL, closed_by = NULL RETURNING 1")
    lab.ingest("people.people", as_csv([(1, 1, 10)]))
    lab.rows("UPDATE decant.rejected_records SET state = 'open', closed_at = NULL, closed_by = NULL RETURNING 1")
    report = replay(mend(lab))
    assert current(lab) == {1: (5, 90), 2: (3, 30), 3: (4, 40)}
    assert report.outcome.raw == report.outcome.accepted + report.outcome.rejected + report.outcome.duplicates
    assert lab.rows("SELECT state, count(*) FROM decant.rejected_records GROUP BY state ORDER BY state") == [
        ("replayed", 1),
        ("superseded", 2),
    ]


def test_a_late_good_record_does_not_speak_for_a_rejected_one(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(UPSERT.replace("maximum: 150", "maximum: 50"))
    lab.ingest("people.people", as_csv([(1, 4, 40)]))
    lab.ingest("people.people", as_csv([(1, 5, 90)]))
    lab.ingest("people.people", as_csv([(1, 3, 30)]))
    assert lab.rows("SELECT state FROM decant.rejected_records") == [("open",)]
    lab.ingest("people.people", as_csv([(1, 6, 6)]))
    assert lab.rows("SELECT state FROM decant.rejected_records") == [("superseded",)]


@pytest.fixture
def lab_of(make_lab: Callable[..., Lab]) -> Callable[[str], Lab]:
    return make_lab
