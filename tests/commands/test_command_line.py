"""The command line as a person and a script meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.auth.api_keys import parse_key
from tests.support.command_line import DECANT, run, run_process
from tests.support.lab import PEOPLE, Lab


@pytest.mark.slow
def test_a_contract_of_somebody_else_s_is_linted_migrated_ingested_and_shown(lab: Lab, databases: object) -> None:
    name = databases.create()  # type: ignore[attr-defined]
    url = databases.urls(name).owner  # type: ignore[attr-defined]
    lab.write("people.csv", "id,name,age,born\n1,Ann,30,\n2,,x,\n")
    assert "0 errors" in run(lab, "contract", "lint").stdout
    plan = run(lab, "migrate", "--plan", DECANT_DATABASE_URL=url)
    assert "add table people" in plan.stdout
    migrated = run_process(lab, "migrate", DECANT_DATABASE_URL=url)
    assert "people_v1_0001" in migrated.stdout, migrated.stderr
    assert "Nothing to change" in run(lab, "migrate", DECANT_DATABASE_URL=url).stdout
    ingested = run_process(lab, "ingest", DECANT_DATABASE_URL=url)
    assert ingested.returncode == 0
    assert "published" in ingested.stdout
    assert "1 × age: type" in ingested.stdout
    assert "1 × name: required" in ingested.stdout
    (status,) = json.loads(run(lab, "status", "--json", DECANT_DATABASE_URL=url).stdout)
    assert (status["revision"], status["records"], status["open_rejects"]) == (1, 1, 1)


@pytest.mark.slow
def test_a_changed_contract_is_migrated_and_one_that_loses_data_is_refused(lab: Lab, databases: object) -> None:
    name = databases.create()  # type: ignore[attr-defined]
    url = databases.urls(name).owner  # type: ignore[attr-defined]
    lab.write("people.csv", "id,name,age,born\n1,Ann,30,\n")
    contract = next(lab.settings.contracts.iterdir())
    early = PEOPLE.replace("version: 1.0.0", "version: 0.1.0")
    contract.write_text(early)
    run(lab, "migrate", DECANT_DATABASE_URL=url)
    assert run(lab, "ingest", DECANT_DATABASE_URL=url).returncode == 0
    born = "      - {name: born, logicalType: date}\n"
    grown = early.replace(born, born + "      - {name: town, logicalType: string}\n")
    contract.write_text(grown)
    plan = run(lab, "migrate", "--plan", DECANT_DATABASE_URL=url).stdout
    assert "minor  people.town: optional property added" in plan
    assert "add column" in plan
    unmoved = run(lab, "migrate", DECANT_DATABASE_URL=url)
    assert unmoved.returncode == 1
    assert "set version 0.1.1 or later" in unmoved.stderr
    contract.write_text(grown.replace("0.1.0", "0.1.1"))
    assert "people_v0_0002" in run(lab, "migrate", DECANT_DATABASE_URL=url).stdout
    contract.write_text(early.replace("0.1.0", "0.2.0"))
    refused = run(lab, "migrate", DECANT_DATABASE_URL=url)
    assert refused.returncode == 1
    assert "people.town dropped" in refused.stderr
    assert run(lab, "migrate", "--allow-data-loss", DECANT_DATABASE_URL=url).returncode == 0
    (status,) = json.loads(run(lab, "status", "--json", DECANT_DATABASE_URL=url).stdout)
    assert status["records"] == 1


def test_a_contract_with_errors_shows_all_of_them_and_fails(lab: Lab, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        PEOPLE.replace("primaryKey: true", "primaryKey: false").replace("maxLength: 20", "pattern: '(?=x)'")
    )
    shown = run(lab, "contract", "lint", str(bad))
    assert shown.returncode == 1
    assert "primaryKey" in shown.stdout
    other = tmp_path / "other.yaml"
    other.write_text(PEOPLE.replace("maxLength: 20", "pattern: '(?=x)'"))
    findings = json.loads(run(lab, "contract", "lint", str(other), "--json").stdout)
    assert any("linear time" in finding["message"] for finding in findings)


@pytest.mark.slow
def test_what_goes_wrong_in_a_known_way_is_one_message_without_a_trace(lab: Lab) -> None:
    for arguments, word in (
        (("ingest", "people.nobody"), "people@1.people"),
        (("ingest", "nothing"), "people@1.people"),
        (("keys", "create", "me", "--scope", "all"), "There is no scope"),
    ):
        failed = run(lab, *arguments)
        assert failed.returncode == 1
        assert word in failed.stderr
        assert "Traceback" not in failed.stderr
    unreachable = run_process(lab, "status", DECANT_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert unreachable.returncode == 1
    assert "cannot be reached" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr


def test_a_failed_load_fails_the_command_and_says_why(lab: Lab) -> None:
    failed = run(lab, "ingest")
    assert failed.returncode == 1
    assert "source_missing" in failed.stdout
    (report,) = json.loads(run(lab, "ingest", "--json").stdout)
    assert (report["status"], report["error_code"]) == ("failed", "source_missing")


def test_a_key_is_made_and_opens_what_its_scope_names(lab: Lab) -> None:
    made = json.loads(run(lab, "keys", "create", "partner", "--scope", "people:read", "--days", "3", "--json").stdout)
    assert parse_key(made["key"])
    with lab.serve() as client:
        assert client.get("/data", headers={"X-API-Key": made["key"]}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"DECANT_ENV": "production"}, "DECANT_SECRET"),
        ({"DECANT_ENV": "production", "DECANT_SECRET": "short"}, "DECANT_SECRET"),
        ({"DECANT_PORT": "many"}, "DECANT_PORT"),
        ({"DECANT_DATABASE_URL": "mysql://x"}, "postgresql://"),
    ],
)
def test_settings_that_cannot_be_used_stop_the_command(lab: Lab, settings: dict[str, str], word: str) -> None:
    failed = run(lab, "status", **settings)
    assert failed.returncode == 1
    assert word in failed.stderr


def test_help_imports_nothing_heavy() -> None:
    heavy = ("alembic", "asyncio", "duckdb", "fastapi", "psycopg", "pydantic", "sqlalchemy", "sqlglot", "ssl", "yaml")
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", DECANT, "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert {"typer", "commands.keys"} <= imported
    assert not imported & set(heavy)


@pytest.mark.slow
def test_every_command_explains_itself() -> None:
    for command in ([], ["demo"], ["migrate"], ["ingest"], ["serve"], ["status"], ["contract", "lint"], ["openapi"]):
        shown = subprocess.run(
            [DECANT, *command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
        assert "Usage" in shown.stdout
