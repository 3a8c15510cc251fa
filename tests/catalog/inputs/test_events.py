"""Contracts whose records are pushed: what they may say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.contract.load import load_catalog
from catalog.model.dataset import Dataset
from runtime.errors import ContractError
from runtime.settings.settings import load_settings
from tests.support.pushing import READINGS, SENSORS


def read(folder: Path, value: str, more: str = "") -> Dataset:
    text = SENSORS.replace("value: {events: true, mode: upsert}}", f"value: {value}}}{more}")
    (folder / "sensors.odcs.yaml").write_text(text)
    return load_catalog(load_settings(contracts=folder)).find(READINGS)[0]


def test_pushed_records_need_no_server_and_are_upserts_unless_told(tmp_path: Path) -> None:
    source = read(tmp_path, "{events: true}").input
    assert source
    assert (source.kind, source.mode, source.file_format.format) == ("events", "upsert", "ndjson")
    source = read(tmp_path, "{events: true, mode: append, orderBy: value, nullValues: [NA]}").input
    assert source
    assert (source.mode, source.order_by, source.null_values) == ("append", "value", ("NA",))


def test_a_bad_record_does_not_hold_up_the_others_unless_the_contract_says_so(tmp_path: Path) -> None:
    assert read(tmp_path, "{events: true}").max_rejected == 1
    strict = "\n      - {property: maxRejected, value: 5}"
    assert read(tmp_path, "{events: true}", strict).max_rejected == 0.05


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{events: true, mode: snapshot}", "would delete all records that are not pushed again; choose one of"),
        ("{events: false}", "input.events: must be true; leave it out if no records are pushed"),
        ("{events: 'yes'}", "input.events: must be true; leave it out if no records are pushed"),
        ("{events: true, path: a.csv}", "input.path: does not apply to pushed records"),
        ("{events: true, query: select 1}", "input.query: does not apply to pushed records"),
    ],
)
def test_what_makes_no_sense_for_pushed_records_is_refused(tmp_path: Path, value: str, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        read(tmp_path, value)
