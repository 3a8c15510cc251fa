"""Lists and mappings where a contract has to name something: a finding, whatever the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.contract.load import read_contract
from runtime.settings.settings import load_settings
from tests.support.lab import PEOPLE
from tests.support.quakes import QUAKES

ODD = ("[]", "{}", "[a]", "{a: 1}", "3", "true")


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(
    ("text", "now", "then", "where"),
    [
        (PEOPLE, "input\n        value: {server: here,", "input\n        value: {server: VALUE,", "input.server"),
        (PEOPLE, "mode: snapshot,", "mode: snapshot, orderBy: VALUE,", "input.orderBy"),
        (PEOPLE, "mode: snapshot,", "mode: VALUE,", "input.mode"),
        (QUAKES, "mode: ", "pagination: {type: VALUE}, mode: ", "input.pagination.type"),
        (QUAKES, "mode: ", "incremental: {param: since, property: VALUE}, mode: ", "input.incremental"),
    ],
)
def test_what_is_no_name_is_a_finding(tmp_path: Path, value: str, text: str, now: str, then: str, where: str) -> None:
    assert now in text
    file = tmp_path / "contract.odcs.yaml"
    file.write_text(text.replace(now, then.replace("VALUE", value), 1))
    product, findings = read_contract(file, load_settings(contracts=file))
    assert product is None
    assert any(finding.severity == "error" and where in finding.message for finding in findings), findings
