"""What Decant writes is for its own user alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import decant
from runtime.private_files import UMASK, keep_private, make_private_folder
from tests.support.lab import Lab


@pytest.fixture
def private() -> Iterator[None]:
    """This process as the command line makes it."""
    before = os.umask(0)
    keep_private()
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What below the folder others may read or write."""
    found = [path for path in folder.rglob("*") if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    return [str(path.relative_to(folder)) for path in found if path.is_file() or path.parent == folder]


@pytest.mark.usefixtures("private")
def test_nothing_that_a_load_and_an_export_leave_is_open_to_others(lab: Lab) -> None:
    home = lab.settings.home
    assert lab.ingest("people.people", "id,name,age,born\n1,Ann,7,\nx,Ben,8,\n").status == "published"
    with lab.serve() as client:
        assert client.get("/data/people/v1/people/export?format=parquet", follow_redirects=True).is_success
    made = {path.parts[len(home.parts)] for path in home.rglob("*") if path.is_file()}
    assert {"landing", "exports"} <= made
    home.joinpath("migrations").chmod(0o700)  # of the fixture, which copies scripts by itself
    for script in home.joinpath("migrations").glob("*"):
        script.chmod(0o600)
    assert open_to_others(home) == []
    # Whoever runs the embedded Postgres goes through the home, and sees nothing of it.
    assert stat.S_IMODE(home.stat().st_mode) & 0o077 & UMASK == 0


@pytest.mark.usefixtures("private")
def test_a_folder_that_was_open_to_others_is_closed_and_a_second_call_changes_nothing(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    old.chmod(0o755)
    for folder in (old, tmp_path / "new" / "inner"):
        make_private_folder(folder)
        make_private_folder(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o711


@pytest.mark.slow
def test_a_drafted_contract_is_for_its_author_alone(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,name\n1,Ann\n")
    command = [sys.executable, decant.__file__, "contract", "init", "data.csv", "--out", "new/one.odcs.yaml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert stat.S_IMODE((tmp_path / "new" / "one.odcs.yaml").stat().st_mode) == 0o600
