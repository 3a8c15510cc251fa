"""Batches without records, or with too few of them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from catalog.model.load_request import PublishWithheld
from commands.show.load_reports import show_line
from ingest.worker.watch_inputs import has_new_data
from tests.support.lab import PEOPLE, Lab
from tests.support.people import WATCHED
from tests.support.terminal import shown

HEAD = "id,name,age,born\n"
UPSERT = WATCHED if "mode: upsert" in WATCHED else WATCHED.replace("mode: snapshot", "mode: upsert")


def least(contract: str, number: object) -> str:
    return contract.replace(
        "- {property: maxDeleted", f"- {{property: minRecords, value: {number}}}\n      - {{property: maxDeleted"
    )


@pytest.mark.sampled
@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_an_empty_day_changes_nothing_and_blocks_nothing(make_lab: Callable[..., Lab], mode: str) -> None:
    lab = make_lab(UPSERT.replace("mode: upsert", f"mode: {mode}"))
    for day, content in enumerate((HEAD + "1,Ann,30,\n", HEAD, "", HEAD + "2,Ben,40,\n")):
        os.utime(lab.write(f"people-{day}.csv", content), (1e9 + day, 1e9 + day))
        report = lab.ingest("people.people")
        assert report.status == ("published" if "," in content.removeprefix(HEAD) else "unchanged"), (day, report)
        assert report.outcome
        assert not has_new_data(lab.loader(), lab.dataset("people.people"))
    assert lab.rows("SELECT id FROM people_v1.people ORDER BY id") == [(1,), (2,)]
    assert lab.rows("SELECT status FROM decant.loads ORDER BY id") == [
        ("published",), ("unchanged",), ("unchanged",), ("published",),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_snapshot_of_nothing_is_withheld_unless_the_contract_takes_it(make_lab: Callable[..., Lab]) -> None:
    for contract, status, left in ((PEOPLE, "withheld", 1), (least(PEOPLE, 0), "published", 0)):
        lab = make_lab(contract)
        lab.ingest("people.people", HEAD + "1,Ann,30,\n")
        assert lab.ingest("people.people", HEAD).status == status
        assert lab.rows("SELECT count(*) FROM people_v1.people") == [(left,)]


@pytest.mark.slow
def test_a_least_number_of_records_withholds_a_smaller_batch_until_its_owner_says_otherwise(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(least(PEOPLE.replace("mode: snapshot", "mode: upsert"), 2))
    small = lab.ingest("people.people", HEAD + "1,Ann,30,\n")
    assert small.status == "withheld"
    assert [(m.rule, m.measured, m.bound) for m in small.outcome.measurements if m.withholds] == [  # type: ignore[union-attr]
        ("minRecords", 1, "≥ 2")
    ]
    assert "withheld by: minRecords: measured 1, must be ≥ 2" in shown(show_line, small)
    anyway = lab.loader().run(lab.dataset("people.people"), request=PublishWithheld(small.load_id))
    assert anyway.status == "published"
    words = shown(show_line, anyway)
    assert "withheld" not in words
    assert "overridden: minRecords" in words
    assert lab.ingest("people.people", HEAD).status == "withheld"
    assert lab.ingest("people.people", HEAD + "1,Ann,31,\n2,Ben,40,\n").status == "published"
    # Again, of what is current already: nothing changes, and nothing was held back.
    held = lab.ingest("people.people", HEAD + "1,Ann,31,\n")
    assert held.status == "withheld"
    again = lab.loader().run(lab.dataset("people.people"), request=PublishWithheld(held.load_id))
    assert again.status == "unchanged"
    assert "withheld" not in shown(show_line, again)


@pytest.mark.parametrize("value", [-1, "many", 1.5, "true"])
def test_what_is_no_number_of_records_is_refused(make_lab: Callable[..., Lab], value: object) -> None:
    with pytest.raises(Exception, match=r"minRecords: .* is not an integer of at least 0"):
        make_lab(least(PEOPLE, value))
