"""`contract diff` and `contract init` as a person and a script meet them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import decant
from tests.support.command_line import invoke
from tests.support.lab import PEOPLE


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return invoke(tuple(map(str, arguments)), os.environ)


@pytest.fixture
def contracts(tmp_path: Path) -> tuple[Path, Path]:
    """The same contract twice."""
    files = tmp_path / "old.yaml", tmp_path / "new.yaml"
    for file in files:
        file.write_text(PEOPLE)
    return files


def test_a_diff_lists_the_changes_and_fails_where_the_version_moved_too_little(contracts: tuple[Path, Path]) -> None:
    old, new = contracts
    new.write_text(PEOPLE.replace("maxLength: 20", "maxLength: 10").replace("name: People", "name: Persons"))
    shown = run("contract", "diff", old, new)
    assert shown.returncode == 1
    assert shown.stdout.splitlines() == [
        "people 1.0.0 → 1.0.0: major step",
        "  major  people.name: maxLength is 10 instead of 20",
        "  patch  contract: descriptive text changed: name",
        "error: the version stayed at 1.0.0, but the changes are a major step: write version 2.0.0 as a second"
        " contract file beside this one: both are served",
    ]
    facts = json.loads(run("contract", "diff", old, new, "--json").stdout)
    assert (facts["step"], facts["lowest_version"], len(facts["changes"])) == ("major", "2.0.0", 2)


def test_a_diff_whose_version_moved_far_enough_succeeds(contracts: tuple[Path, Path]) -> None:
    old, new = contracts
    new.write_text(PEOPLE.replace("maxLength: 20", "maxLength: 10").replace("version: 1.0.0", "version: 2.0.0"))
    assert run("contract", "diff", old, new).returncode == 0
    same = run("contract", "diff", old, old)
    assert (same.returncode, "no relevant change" in same.stdout) == (0, True)


def test_a_diff_of_what_is_no_contract_or_another_product_says_so(contracts: tuple[Path, Path]) -> None:
    old, new = contracts
    new.write_text(PEOPLE.replace("id: people", "id: cats"))
    assert "only versions of one product are compared" in run("contract", "diff", old, new).stderr
    new.write_text(PEOPLE.replace("primaryKey: true", "primaryKey: false"))
    refused = run("contract", "diff", old, new)
    assert (refused.returncode, "has no primaryKey" in refused.stderr) == (1, True)
    missing = run("contract", "diff", old, "nothing.yaml")
    assert "cannot be read" in missing.stderr
    assert "Traceback" not in missing.stderr


@pytest.mark.sampled
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        "migrate", "ingest", "serve", "worker --once", "status", "loads", "rejects a.b", "replay a.b",
        "dismiss a.b --all", "publish 1 --anyway", "prune", "erase a.b 1 --yes", "restored", "lineage a.b", "openapi",
        "contract lint", "keys create reader --scope a:read",
    ],
)  # fmt: skip
def test_a_command_without_contracts_says_how_to_start(
    command: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DECANT_CONTRACTS", "contracts")
    if there:
        (tmp_path / "contracts").mkdir()
    done = CliRunner().invoke(decant.app, command.split())
    assert done.exit_code == 1
    said = f"{done.output}{done.exception}"
    assert "contains no contract" in said
    assert "create one with `decant contract init FILE`" in said
    assert not (tmp_path / ".decant" / "postgres").exists()


@pytest.mark.slow
def test_a_first_contract_is_written_and_never_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample, contract = tmp_path / "towns.csv", tmp_path / "contracts" / "towns.odcs.yaml"
    sample.write_text("id,name\n1,Ulm\n2,Bonn\n")
    written = run("contract", "init", sample, "--out", contract)
    assert written.returncode == 0, written.stderr
    assert "key      id" in written.stderr
    assert written.stdout == ""
    # The folder lies neither below the working folder nor is it listed.
    assert f"the folder {tmp_path} must be listed in DECANT_INPUT_ROOTS" in contract.read_text()
    refused = run("contract", "lint", contract)
    assert (refused.returncode, "DECANT_INPUT_ROOTS, such as towns=" in refused.stdout + refused.stderr) == (1, True)
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(tmp_path)
        assert run("contract", "lint", contract).returncode == 0
    again = run("contract", "init", sample, "--out", contract)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    # Without a place to write to, the contract alone is on standard output.
    assert run("contract", "init", sample).stdout == contract.read_text()
