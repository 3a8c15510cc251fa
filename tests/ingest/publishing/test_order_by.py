"""`orderBy` beyond one batch: the newest record of a key is current, in whatever order the batches come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.cleaning import published_snapshot
from tests.support.examples import examples
from tests.support.lab import PEOPLE, Lab
from tests.support.replays import mend, replay

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


@settings(max_examples=examples(6, 3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.mark.slow
@pytest.mark.parametrize("kept", [10_000, 1])
def test_a_late_record_is_a_duplicate_and_said_so(lab_of: Callable[[str], Lab], kept: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        published_snapshot, "SNAPSHOT_FROM_RECORDS", kept
    )  # also with what is kept of the current revision
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


@pytest.mark.slow
def test_texts_are_compared_alike_within_a_batch_and_beyond_it(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(BY_NAME)
    names = ["b", "A", "a", "B", "é", "Z", "_"]
    for index, name in enumerate(names):
        lab.ingest("people.people", HEAD + f"1,{name},{index},\n")
    one_batch = HEAD + "".join(f"2,{name},{index},\n" for index, name in enumerate(names))
    lab.ingest("people.people", one_batch)
    assert lab.rows("SELECT name FROM people_v1.people") == [(max(names),)] * 2


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "age"), [("snapshot", 1), ("append", 50)])
def test_other_modes_keep_their_word(lab_of: Callable[[str], Lab], mode: str, age: int) -> None:
    lab = lab_of(UPSERT.replace("upsert", mode))
    lab.ingest("people.people", as_csv([(1, 5, 50)]))
    lab.ingest("people.people", as_csv([(1, 3, 1)]))
    assert current(lab)[1][1] == age


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_late_good_record_does_not_speak_for_a_rejected_one(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(UPSERT.replace("maximum: 150", "maximum: 50"))
    lab.ingest("people.people", as_csv([(1, 4, 40)]))
    lab.ingest("people.people", as_csv([(1, 5, 90)]))
    lab.ingest("people.people", as_csv([(1, 3, 30)]))
    assert lab.rows("SELECT state FROM decant.rejected_records") == [("open",)]
    lab.ingest("people.people", as_csv([(1, 6, 6)]))
    assert lab.rows("SELECT state FROM decant.rejected_records") == [("superseded",)]


STRICT = UPSERT.replace("maximum: 150", "maximum: 50")
# (day, age) of the rejected record and of the good one behind it -> what becomes of the first.
LATER = [
    pytest.param((5, 90), (3, 30), "open", id="older"),
    pytest.param((3, 90), (5, 30), "superseded", id="newer"),
    pytest.param((4, 90), (4, 30), "superseded", id="equal"),
    pytest.param((0, 90), (3, 30), "superseded", id="none before one"),
    pytest.param((5, 90), (0, 30), "open", id="one before none"),
    pytest.param((0, 90), (0, 30), "superseded", id="none before none"),
]


def states(lab: Lab) -> list[str]:
    return [row[0] for row in lab.rows("SELECT state FROM decant.rejected_records ORDER BY id")]


@pytest.mark.sampled
@pytest.mark.parametrize(("bad", "good", "state"), LATER)
def test_a_good_record_closes_a_rejected_one_that_is_no_newer(
    lab_of: Callable[[str], Lab], bad: tuple[int, int], good: tuple[int, int], state: str
) -> None:
    lab = lab_of(STRICT)
    lab.ingest("people.people", as_csv([(1, *bad)]))
    lab.ingest("people.people", as_csv([(1, *good)]))
    assert current(lab) == {1: good}
    assert states(lab) == [state]
    # Poured again, the one that stayed open is what it is: the newer one.
    report = replay(mend(lab))
    assert current(lab) == {1: bad if state == "open" else good}
    assert report.status == ("published" if state == "open" else "unchanged")
    assert states(lab) == ["replayed" if state == "open" else "superseded"]


@pytest.mark.slow
def test_a_rejected_record_that_is_older_comes_to_nothing_when_it_is_replayed_again(
    lab_of: Callable[[str], Lab],
) -> None:
    lab = lab_of(STRICT)
    lab.ingest("people.people", as_csv([(1, 5, 50)]))
    lab.ingest("people.people", as_csv([(1, 3, 90), (2, 3, 90)]))
    assert states(lab) == ["open", "open"]
    assert replay(mend(lab)).status == "published"
    assert current(lab) == {1: (5, 50), 2: (3, 90)}
    assert states(lab) == ["superseded", "replayed"]


@pytest.mark.slow
@pytest.mark.parametrize("age", [30, 90])
def test_a_rejected_record_whose_value_cannot_be_read_stays_open(lab_of: Callable[[str], Lab], age: int) -> None:
    lab = lab_of(STRICT)
    lab.ingest("people.people", HEAD + f"1,x,{age},05.01.2020\n")
    lab.ingest("people.people", as_csv([(1, 3, 30)]))
    assert states(lab) == ["open"]
    # A contract that reads it decides, when it is replayed.
    text = "{name: born, logicalType: date}"
    form = "{name: born, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}}"
    assert replay(mend(mend(lab), text, form)).status == "published"
    assert current(lab) == {1: (5, age)}
    assert states(lab) == ["replayed"]


@pytest.mark.slow
def test_a_value_of_another_property_or_type_is_compared_with_nothing(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(STRICT)
    lab.ingest("people.people", as_csv([(1, 3, 90)]))
    for before, after in (("orderBy: born", "orderBy: name"), ("orderBy: name", "orderBy: born")):
        lab = mend(lab, before, after)
        lab.ingest("people.people", as_csv([(1, 5, 30)]))
        assert states(lab) == ["open" if after == "orderBy: name" else "superseded"]


@pytest.mark.slow
def test_what_a_replay_writes_closes_other_rejected_records_by_order(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(STRICT)
    first = lab.ingest("people.people", as_csv([(1, 5, 40), (2, 2, 40), (3, 3, 90)]))
    assert first.status == "withheld" or current(lab) == {1: (5, 40), 2: (2, 40)}
    lab.ingest("people.people", as_csv([(1, 4, 90), (2, 3, 90)]))
    lab.rows("DELETE FROM people_v1.people RETURNING 1")
    assert replay(lab, first.load_id).status == "published"
    # Of key 1 the older one is done with; of key 2 the newer one is not, though its load came later.
    found = lab.rows("SELECT key, state FROM decant.rejected_records ORDER BY key")
    assert found == [("1", "superseded"), ("2", "open"), ("3", "open")]


def test_texts_are_compared_by_code_points(lab_of: Callable[[str], Lab]) -> None:
    lab = lab_of(BY_NAME.replace("maximum: 150", "maximum: 50"))
    lab.ingest("people.people", HEAD + "1,a,90,\n2,B,90,\n")
    lab.ingest("people.people", HEAD + "1,B,30,\n2,a,30,\n")
    assert states(lab) == ["open", "superseded"]


def test_orphans_and_repeats_keep_their_value_too(lab_of: Callable[[str], Lab]) -> None:
    unique = "{name: name, logicalType: string, unique: true, required: true"
    lab = lab_of(UPSERT.replace("{name: name, logicalType: string, required: true", unique))
    lab.ingest("people.people", HEAD + "1,Ann,1,2020-01-02\n")
    lab.ingest("people.people", HEAD + "2,Ann,1,2020-01-05\n3,Ann,1,2020-01-03\n")
    lab.ingest("people.people", HEAD + "2,Bo,1,2020-01-04\n3,Cy,1,2020-01-04\n")
    assert states(lab) == ["open", "superseded"]


@pytest.fixture
def lab_of(make_lab: Callable[..., Lab]) -> Callable[[str], Lab]:
    return make_lab
