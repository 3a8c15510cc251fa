"""Exports that are kept as files, as they are served: in ranges, within their room, and beside erasures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Lab

FILE = "/data/people/v1/people/export?at=1&format=parquet"
FIRST = "id,name,age,born\n1,Ann,30,\n2,Ben,40,\n3,Cid,50,\n"
ROOM_BYTES = 1500  # for two files, not for four


@pytest.fixture
def people(lab: Lab) -> Lab:
    """Three people in one revision."""
    assert lab.ingest("people.people", FIRST).status == "published"
    return lab


def kept_files(lab: Lab) -> list[Path]:
    """Whatever lies where exports are kept."""
    return [path for path in lab.settings.exports_folder.rglob("*") if path.is_file()]


def test_files_leave_whole_when_they_take_too_much_room(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(export_cache_bytes=ROOM_BYTES)
    assert lab.ingest("people.people", FIRST).status == "published"
    with lab.serve() as client:
        asked = ("id", "name", "id", "age", "id", "born", "id", "name", "id")
        digests: dict[str, set[str]] = {}
        for name in asked:
            answer = client.get(f"{FILE}&properties={name}")
            assert answer.status_code == 200, (name, answer.text)
            digests.setdefault(name, set()).add(answer.headers["repr-digest"])
            files = kept_files(lab)
            assert sum(path.stat().st_size for path in files) <= ROOM_BYTES
            data = {path.name for path in files if path.suffix == ".parquet"}
            assert {path.stem for path in files if path.suffix == ".sha256"} == data
        assert len(data) < len(digests)
    assert all(len(each) == 1 for each in digests.values())
