"""Where the tests' PostgreSQL lies, and what is left of runs that were killed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from runtime.postgres.embedded_postgres import SERVER_LOCK
from tests.support import server_folder
from tests.support.server_folder import PREFIX, is_roomy, make_server_folder, remove_abandoned


def test_folders_without_a_server_are_removed_once_they_are_old(tmp_path: Path) -> None:
    locks = {name: tmp_path / f"{PREFIX}{name}" / "postgres" / SERVER_LOCK for name in ("held", "left", "new")}
    for name, lock_file in locks.items():
        lock_file.parent.mkdir(parents=True)
        lock_file.touch()
        if name != "new":
            os.utime(lock_file, (1, 1))
    (tmp_path / f"{PREFIX}begun").mkdir()
    (tmp_path / "others").mkdir()
    with locks["held"].open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}{n}" for n in ("held", "new", "begun")} | {
        "others"
    }


def test_without_room_in_memory_the_folder_lies_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_roomy(tmp_path / "nothing")
    monkeypatch.setattr(server_folder, "MEMORY", tmp_path / "nothing")
    folder = make_server_folder()
    try:
        assert folder.parent == server_folder.DISK
        assert folder.stat().st_mode & 0o777 == 0o755
    finally:
        folder.rmdir()
