"""systemd takes the units, which run commands that exist with settings that exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import decant
from api.server import SHUTDOWN_SECONDS
from runtime.settings.settings import Settings
from tests.support.compose import DEPLOY
from tests.support.tools import get_tool

UNITS = DEPLOY / "systemd"
PROGRAM = "/opt/decant/.venv/bin/decant"
KNOWN = {f"DECANT_{name.upper()}" for name in Settings.model_fields}
MOST_EXPOSED = 2.0  # of 10, as systemd-analyze counts


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as a machine would have them, over programs that are there."""
    folder = tmp_path / "system"
    shutil.copytree(UNITS, folder)
    for path in folder.glob("*.service"):
        text = path.read_text().replace(PROGRAM, sys.executable).replace("=pg_dump", f"={sys.executable}")
        path.write_text(text.replace(f"{sys.executable}all", sys.executable))
    return folder


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says of units in a folder."""
    tool = get_tool("systemd-analyze")
    environment = {"PATH": os.defpath, "LC_ALL": "C", "SYSTEMD_UNIT_PATH": f"{folder}:"} | tool.environment
    command = [str(tool.program), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def names() -> list[str]:
    """The units; of a template, one of its instances."""
    return sorted(
        path.name.replace("@.", "@8001.") for path in UNITS.iterdir() if path.suffix in {".service", ".timer"}
    )


def settings_of(name: str) -> list[tuple[str, str]]:
    """(name, value) of each setting of a unit, with those of the file for all units."""
    text = (UNITS / name.replace("@8001", "@")).read_text() + (UNITS / "decant-.service.d/hardening.conf").read_text()
    return re.findall(r"^(\w+)=(.*)$", text, re.M)


def test_systemd_has_no_complaint_about_any_unit(units: Path) -> None:
    checked = analyze(units, "verify", *(f"./{name}" for name in names()))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_systemd_would_complain(units: Path) -> None:
    path = units / "decant-worker.service"
    path.write_text(path.read_text().replace("RestartSec", "RestartSeconds"))
    assert "RestartSeconds" in analyze(units, "verify", "./decant-worker.service").stderr


@pytest.mark.parametrize("name", [name for name in names() if name.endswith(".service")])
def test_every_service_is_closed_off(units: Path, name: str) -> None:
    analyzed = analyze(units, "security", "--offline=true", "--no-pager", f"./{name}")
    found = re.search(r"Overall exposure level for \S+ ([\d.]+)", analyzed.stdout)
    assert found, analyzed.stdout + analyzed.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("name", [name for name in names() if name.endswith(".service")])
def test_services_run_commands_that_exist(name: str) -> None:
    for setting, value in settings_of(name):
        words = shlex.split(value)
        if setting == "ExecStart" and words[0] == PROGRAM:
            command = typer.main.get_command(decant.app)
            for word in words[1:]:
                command = command.commands[word]  # type: ignore[attr-defined]


def test_files_of_variables_hold_known_settings_and_no_secret() -> None:
    asked = {value for name in names() for setting, value in settings_of(name) if setting == "EnvironmentFile"}
    files = {f"/etc/decant/{path.name}": path.read_text() for path in (UNITS / "environment").iterdir()}
    assert asked == set(files)
    for path, text in files.items():
        assert text.startswith(f"# {path}: ")
        given = dict(re.findall(r"^(?:# )?(\w+)=(.*)$", text, re.M))
        assert {each for each in given if each.startswith("DECANT_")} <= KNOWN
        assert all("PASSWORD" in value for value in given.values() if "@" in value)
        assert given.get("DECANT_SECRET", "") == given.get("PGPASSWORD", "") == ""


def test_services_have_time_to_end_in_order() -> None:
    api, worker = (dict(settings_of(name)) for name in ("decant-api@8001.service", "decant-worker.service"))
    assert int(api["TimeoutStopSec"]) >= max(45, SHUTDOWN_SECONDS + 10)
    assert int(worker["TimeoutStopSec"]) >= Settings.model_fields["worker_stop_seconds"].default + 10
    # Both end with the status of SIGTERM.
    assert api["SuccessExitStatus"] == worker["SuccessExitStatus"] == "143"
