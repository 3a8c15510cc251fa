"""Names that moved at the source are told, not silently null: keys of JSON records, and values of whole snapshots."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.lab import PEOPLE, Lab

SPARSE = [{"id": 1, "name": "Ann", "age": 30}, {"id": 2, "name": "Ben", "born": "1990-01-31"}]
GONE = "keys of earlier batches that no record of this batch has: "


def bring(lab: Lab, *records: dict[str, object]) -> list[str]:
    """What one batch's load notes of keys that are gone."""
    report = lab.ingest("people.people", "".join(json.dumps(record) + "\n" for record in records), "people.ndjson")
    assert report.status == "published", report
    return [note for note in report.notes if note.startswith(GONE)]


@pytest.mark.slow
def test_keys_that_are_gone_are_told_until_they_are_back(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("people.csv", "people.ndjson").replace("format: csv", "format: ndjson"))
    assert bring(lab, *SPARSE) == []  # each key stands in one record at least
    assert bring(lab, {"id": 3, "name": "Cy", "AGE": 1, "born": "1990-01-31"}) == [f"{GONE}age"]
    assert bring(lab, {"id": 4, "name": "Di"}) == [f"{GONE}age, born"]  # told again: it is known from before
    assert bring(lab, {"id": 5, "name": "Ed", "age": None, "born": None}) == []  # null is there
    assert lab.rows("SELECT parts->0->'keys' FROM decant.loads ORDER BY id DESC LIMIT 1") == [
        (["id", "name", "age", "born"],)
    ]
    assert lab.rows("SELECT notes FROM decant.loads ORDER BY id OFFSET 1 LIMIT 1")[0][0][-1] == f"{GONE}age"


@pytest.mark.slow
def test_a_key_that_is_gone_fails_no_load_and_is_told_of_json_arrays_too(make_lab: Callable[..., Lab]) -> None:
    strict = PEOPLE.replace("people.csv", "people.json").replace("format: csv", "format: json")
    strict = strict.replace(
        "{property: maxDeleted", "{property: unknownColumns, value: reject}\n      - {property: maxDeleted"
    )
    lab = make_lab(strict)
    assert lab.ingest("people.people", json.dumps(SPARSE), "people.json").notes == ()
    report = lab.ingest("people.people", json.dumps([{"id": 1, "name": "Ann", "born": None}]), "people.json")
    assert (report.status, report.notes) == ("published", (f"{GONE}age",))
    # A renamed key comes with one that nobody reads: that is refused here, and teaches nothing.
    renamed = lab.ingest("people.people", json.dumps([{"id": 1, "name": "Ann", "years": 3}]), "people.json")
    assert (renamed.status, renamed.error_code) == ("failed", "source_unreadable")


EMPTIED = "properties without any value, though most records had one earlier: "


def emptied(lab: Lab, content: str, name: str = "people.csv") -> list[str]:
    report = lab.ingest("people.people", content, name)
    assert report.status == "published", report
    return [note for note in report.notes if note.startswith(EMPTIED)]


@pytest.mark.slow
def test_properties_that_lose_all_their_values_are_told_until_they_have_some(lab: Lab) -> None:
    head = "id,name,age,born\n"
    assert emptied(lab, head + "1,Ann,30,\n2,Bo,31,\n3,Cy,,1990-01-31\n") == []
    # Most had an age; few were known to be born.
    assert emptied(lab, head + "1,Ann,,\n2,Bo,NA,\n") == [f"{EMPTIED}age"]
    assert emptied(lab, head + "1,Ann,,\n4,Di,x,\n") == [f"{EMPTIED}age"]  # a rejected record's does not count
    assert emptied(lab, head + "1,Ann,,\n2,Bo,,\n5,Ed,5,\n") == []
    assert emptied(lab, head + "1,Ann,,\n2,Bo,,\n") == []  # few had one by then
    assert lab.rows("SELECT parts->0->'filled' FROM decant.loads ORDER BY id DESC LIMIT 1") == [(["id", "name"],)]


@pytest.mark.slow
def test_a_name_that_moves_within_a_nested_value_is_told(make_lab: Callable[..., Lab]) -> None:
    nested = PEOPLE.replace("people.csv", "people.ndjson").replace("format: csv", "format: ndjson")
    nested = nested.replace(
        "{name: age, logicalType: integer",
        "{name: age, transformLogic: \"raw->>'$.facts.age'\", logicalType: integer",
    )
    lab = make_lab(nested)
    records = [{"id": 1, "name": "Ann", "facts": {"age": 3}}, {"id": 2, "name": "Bo", "facts": {"years": 3}}]
    assert emptied(lab, json.dumps(records[0]), "people.ndjson") == []
    assert emptied(lab, json.dumps(records[1]), "people.ndjson") == [f"{EMPTIED}age"]


@pytest.mark.slow
def test_a_batch_that_is_not_the_whole_dataset_may_lack_values(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("mode: snapshot", "mode: upsert"))
    assert emptied(lab, "id,name,age,born\n1,Ann,30,\n") == []
    assert emptied(lab, "id,name,age,born\n2,Bo,,\n") == []


def test_files_with_a_header_need_no_such_note(lab: Lab) -> None:
    assert lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n").status == "published"
    assert lab.rows("SELECT parts->0 ? 'keys' FROM decant.loads") == [(False,)]
