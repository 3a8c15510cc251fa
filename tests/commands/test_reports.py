"""`report lint` and `report list`: findings as `contract lint` prints them, without a database."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import invoke
from tests.support.portal import BROKEN, SHOP

GOOD = "---\ntitle: Sold\ndescription: What was sold.\n---\n```table\n/browse/shop/v1/orders/explore\n```\n"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A folder with a contract and reports."""
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "shop.odcs.yaml").write_text(SHOP, encoding="utf-8")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "sold.md").write_text(GOOD)
    return tmp_path / "reports"


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command, run where nothing leads to a database."""
    names = {"CONTRACTS": folder.parent / "contracts", "HOME": folder.parent / "home", "REPORTS": folder}
    variables = {f"DECANT_{name}": str(value) for name, value in names.items()}
    return invoke(tuple(map(str, arguments)), dict(os.environ) | variables)


def test_reports_without_findings_pass(reports: Path) -> None:
    done = run(reports, "report", "lint")
    assert (done.returncode, done.stdout) == (0, "1 report, 0 errors, 0 warnings\n")
    assert not (reports.parent / "home").exists()
    assert "Sold" in run(reports, "report", "list").stdout


def test_each_finding_has_its_file_and_line_and_fails_the_command(reports: Path) -> None:
    file = reports / "broken.md"
    file.write_text(BROKEN, encoding="utf-8")
    done = run(reports, "report", "lint", reports)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert f"error {file}:2: front matter: unknown field 'titel'; did you mean 'title'?" in lines
    assert f"error {file}:6: block 1 (chart): group_by: unknown property 'nothing'" in done.stdout
    assert lines[-1].startswith("2 reports, ")
    found = json.loads(run(reports, "report", "lint", file, "--json").stdout)
    assert {finding["file"] for finding in found} == {str(file)}
    assert len(found) == len(lines) - 1
    assert "findings" in run(reports, "report", "list").stdout


def test_texts_of_reports_never_reach_a_terminal_unchecked(reports: Path) -> None:
    text = '---\ntitle: "\x1b[31mred"\ndescription: D\n---\n```table\n\x1b[2J/browse\n```\n'
    text += "```table\n/browse/[b]x/v1/y/explore\n```\n"
    (reports / "sold.md").write_text(text, encoding="utf-8")
    for command in ("lint", "list"):
        done = run(reports, "report", command)
        assert "\x1b" not in done.stdout + done.stderr
    assert "[b]x" in run(reports, "report", "lint").stdout


@pytest.mark.parametrize("name", ["nothing", "contracts"])
def test_a_folder_without_reports_is_an_error(reports: Path, name: str) -> None:
    done = run(reports, "report", "lint", reports.parent / name)
    assert done.returncode == 1
    assert "contains no report" in done.stdout
