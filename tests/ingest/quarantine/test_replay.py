"""Rejected records replayed, whole batches replayed, withheld loads published all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from catalog.model.load_request import PublishWithheld
from tests.support.lab import PEOPLE, Lab
from tests.support.replays import HEAD, STRICT, mend, people, replay, states

UPSERT = STRICT.replace("mode: snapshot", "mode: upsert")


def test_rejected_records_come_through_once_the_contract_is_mended(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(UPSERT)
    first = lab.ingest("people.people", HEAD + '1,Ann,30,\n2,"Bo, jr",70,\n3,Cy,200,\n')
    assert first.outcome
    assert first.outcome.rejected == 2
    lab = mend(lab)
    report = replay(lab)
    assert report.status == "published", report.error
    assert (report.outcome.raw, report.outcome.accepted, report.outcome.rejected) == (2, 1, 1)
    assert people(lab) == {1: ("Ann", 30), 2: ("Bo, jr", 70)}
    assert states(lab) == [(first.load_id, 3, "replayed"), (first.load_id, 4, "open")]
    # The record says where it came from, however often it was replayed.
    assert lab.rows("SELECT _load, _line, _revision FROM people_v1.people WHERE id = 2") == [(first.load_id, 3, 2)]
    ((reasons, closed_by),) = lab.rows("SELECT reasons, closed_by FROM decant.rejected_records WHERE line = 4")
    assert reasons[0]["message"] == "maximum is 150"
    assert closed_by is None
    ((closed_by,),) = lab.rows("SELECT closed_by FROM decant.rejected_records WHERE line = 3")
    assert closed_by == f"load {report.load_id}"


def test_a_replay_of_nothing_changes_nothing_and_keeps_the_input_s_position(lab: Lab) -> None:
    lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    before = lab.rows("SELECT * FROM decant.input_states")
    assert replay(lab).status == "unchanged"
    assert lab.rows("SELECT * FROM decant.input_states") == before


@pytest.mark.slow
def test_a_record_that_a_later_load_brought_in_good_order_is_left_alone(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(UPSERT)
    lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n")
    lab.ingest("people.people", HEAD + "2,Bob,40,\n")
    assert [state for *_, state in states(lab)] == ["superseded"]
    assert replay(mend(lab)).status == "unchanged"
    assert people(lab) == {1: ("Ann", 30), 2: ("Bob", 40)}


@pytest.mark.slow
def test_a_record_that_a_later_load_repeats_unchanged_is_newer_too(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(UPSERT)
    lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    lab.ingest("people.people", HEAD + "1,Ann,70,\n2,Bo,20,\n")
    lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    assert replay(mend(lab)).status == "unchanged"
    assert people(lab)[1] == ("Ann", 30)


def test_within_one_batch_the_later_line_is_the_newer(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(UPSERT)
    lab.ingest("people.people", HEAD + "1,Old,70,\n1,New,30,\n2,Old,30,\n2,New,70,\n")
    report = replay(mend(lab))
    assert (report.outcome.accepted, report.outcome.duplicates) == (1, 1)
    assert people(lab) == {1: ("New", 30), 2: ("New", 70)}
    assert [state for *_, state in states(lab)] == ["superseded", "replayed"]


@pytest.mark.slow
def test_a_key_that_the_latest_snapshot_lacks_does_not_come_back(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT)
    lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n3,Cy,80,\n")
    lab.ingest("people.people", HEAD + "1,Ann,31,\n3,Cy,80,\n")
    report = replay(mend(lab))
    assert people(lab) == {1: ("Ann", 31), 3: ("Cy", 80)}
    assert [state for *_, state in states(lab)] == ["superseded", "replayed"]
    assert report.outcome.raw == report.outcome.accepted + report.outcome.rejected + report.outcome.duplicates


@pytest.mark.slow
def test_append_never_changes_a_key(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT.replace("mode: snapshot", "mode: append"))
    lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    lab.ingest("people.people", HEAD + "1,Ann,70,\n2,Bo,71,\n")
    replay(mend(lab))
    assert people(lab) == {1: ("Ann", 30), 2: ("Bo", 71)}
    assert [state for *_, state in states(lab)] == ["superseded", "replayed"]


def test_a_dismissed_record_stays_where_it_is_and_is_not_opened_again(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(UPSERT)
    lab.ingest("people.people", HEAD + "1,Ann,70,\n2,Bo,20,\n")
    lab.rows("UPDATE decant.rejected_records SET state = 'dismissed' RETURNING 1")
    lab.ingest("people.people", HEAD + "1,Ann,70,\n2,Bo,21,\n")
    replay(mend(lab))
    assert people(lab) == {2: ("Bo", 21)}
    assert [state for *_, state in states(lab)] == ["dismissed"]


def test_a_malformed_record_stays_open_and_swallows_no_other(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(UPSERT)
    lab.ingest("people.people", HEAD.encode() + b'1,"a,30,\n2,Bo,70,\n3,"b,1,\n4,caf\xe9,1,\n')
    report = replay(mend(lab))
    assert people(lab) == {2: ("Bo", 70)}
    assert (report.outcome.raw, report.outcome.accepted, report.outcome.rejected) == (4, 1, 3)
    ((reasons,),) = lab.rows("SELECT reasons FROM decant.rejected_records WHERE line = 5")
    assert "replay --load" in reasons[0]["message"]


@pytest.mark.slow
def test_a_whole_batch_is_replayed_again_without_touching_what_came_later(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(UPSERT)
    first = lab.ingest("people.people", HEAD + "1,Ann,70,\n2,Bo,20,\n3,Cy,99,\n4,Di,999,\n")
    lab.ingest("people.people", HEAD + "2,Bob,21,\n3,Cyd,22,\n")
    lab = mend(lab)
    report = replay(lab, first.load_id)
    assert report.status == "published", report.error
    assert (report.outcome.raw, report.outcome.accepted, report.outcome.duplicates) == (4, 1, 2)
    assert people(lab) == {1: ("Ann", 70), 2: ("Bob", 21), 3: ("Cyd", 22)}
    assert [state for *_, state in states(lab)] == ["replayed", "superseded", "open"]
    assert lab.rows("SELECT _load, _line FROM people_v1.people WHERE id = 1") == [(first.load_id, 2)]
    again = replay(lab, report.load_id)
    assert again.error_code == "source_unreadable"
    assert "and has no raw batch of its own" in (again.error or "")
    missing = replay(lab, 4711)
    assert "has no load 4711" in (missing.error or "")


@pytest.mark.slow
def test_a_replay_is_held_back_by_gates(make_lab: Callable[..., Lab]) -> None:
    gate = "    quality:\n      - {metric: rowCount, mustBeLessThan: 3}\n"
    lab = make_lab(UPSERT.replace("roles:", gate + "roles:"))
    lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,20,\n3,Cy,99,\n")
    report = replay(mend(lab))
    assert report.status == "withheld"
    assert len(people(lab)) == 2
    assert [state for *_, state in states(lab)] == ["open"]


@pytest.mark.slow
def test_orphans_come_through_once_their_parents_are_there(make_lab: Callable[..., Lab]) -> None:
    contract = PEOPLE.replace("id: people\n", "id: people\n").replace(
        "roles:",
        """  - name: pets
    customProperties:
      - property: input
        value: {server: here, path: pets.csv, mode: snapshot}
      - {property: maxRejected, value: 100}
    properties:
      - {name: pet, logicalType: integer, primaryKey: true}
      - {name: owner, logicalType: integer, relationships: [{type: foreignKey, to: people.id}]}
roles:""",
    )
    lab = make_lab(contract)
    lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    lab.ingest("people.pets", "pet,owner\n10,1\n11,2\n", "pets.csv")
    lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,20,\n")
    report = replay(lab, address="people.pets")
    assert report.status == "published", report.error
    assert lab.rows("SELECT pet, owner FROM people_v1.pets ORDER BY 1") == [(10, 1), (11, 2)]
    assert states(lab)[0][2] == "replayed"


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["snapshot", "upsert"])
def test_a_withheld_load_is_published_anyway(make_lab: Callable[..., Lab], mode: str) -> None:
    gate = "    quality:\n      - {metric: rowCount, mustBeGreaterThan: 2}\n"
    lab = make_lab(PEOPLE.replace("roles:", gate + "roles:").replace("mode: snapshot", f"mode: {mode}"))
    withheld = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,999,\n")
    assert withheld.status == "withheld"
    lab.write("people.csv", HEAD + "7,Another,1,\n")
    report = lab.loader().run(lab.dataset("people.people"), request=PublishWithheld(withheld.load_id))
    assert report.status == "published", report.error
    assert people(lab) == {1: ("Ann", 30)}
    assert lab.rows(
        "SELECT passed FROM decant.quality_results WHERE load_id = %s AND rule LIKE 'row%%'", report.load_id
    ) == [(False,)]
    again = lab.loader().run(lab.dataset("people.people"), request=PublishWithheld(withheld.load_id))
    assert f"Load {report.load_id} was published after" in (again.error or "")
    other = lab.loader().run(lab.dataset("people.people"), request=PublishWithheld(report.load_id))
    assert "was not withheld" in (other.error or "")
    # The rejected record of the withheld load lies there once.
    assert [state for *_, state in states(lab)] == ["open"]


@pytest.mark.slow
def test_rejected_records_of_a_snapshot_that_was_withheld_wait_for_it(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT.replace("maxRejected, value: 100", "maxRejected, value: 10"))
    withheld = lab.ingest("people.people", HEAD + "1,Ann,30,\n2,Bo,70,\n")
    assert withheld.status == "withheld"
    lab = mend(lab)
    assert replay(lab).status == "unchanged"
    assert people(lab) == {}
    assert [state for *_, state in states(lab)] == ["open"]
    assert lab.ingest("people.people").status == "published"
    assert people(lab) == {1: ("Ann", 30), 2: ("Bo", 70)}
    assert [state for *_, state in states(lab)] == ["superseded"]


@pytest.mark.slow
def test_the_batch_before_a_bad_one_still_speaks_for_its_keys(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STRICT)
    lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    lab.ingest("people.people", HEAD + "1,Ann,70,\n")  # rejected, and so unchanged
    lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    assert [state for *_, state in states(lab)] == ["superseded"]
    assert replay(mend(lab)).status == "unchanged"
    assert people(lab) == {1: ("Ann", 30)}


@pytest.mark.slow
def test_json_records_are_replayed_again_as_json(make_lab: Callable[..., Lab]) -> None:
    contract = UPSERT.replace("path: people.csv", "path: people.ndjson, format: ndjson")
    lab = make_lab(contract)
    lab.ingest("people.people", '{"id": 1, "name": "Ann", "age": 70}\n{"id": 2, "name"\n', "people.ndjson")
    report = replay(mend(lab))
    assert (report.outcome.accepted, report.outcome.rejected) == (1, 1), report.error
    assert people(lab) == {1: ("Ann", 70)}
