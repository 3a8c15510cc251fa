"""Exports that are kept as files, as they are served: in ranges, within their room, and beside erasures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from tests.lab import Lab

FILE = "/data/people/v1/people/export?at=1&format=parquet"
FIRST = "id,name,age,born\n1,Ann,30,\n2,Ben,40,\n3,Cid,50,\n"
ROOM_BYTES = 1500  # for two files, not for four
WAIT_SECONDS = 20.0


@pytest.fixture
def people(lab: Lab) -> Lab:
    """Three people in one revision."""
    assert lab.ingest("people.people", FIRST).status == "published"
    return lab


@pytest.fixture
def client(people: Lab) -> Iterator[httpx.Client]:
    """A client of the running service."""
    with people.serve() as client:
        yield client


def kept_files(lab: Lab) -> list[Path]:
    """Whatever lies where exports are kept."""
    return [path for path in lab.settings.exports_folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_a_file_says_how_long_it_is_and_since_when_it_is_so(client: httpx.Client, form: str) -> None:
    url = FILE.replace("parquet", form)
    whole = client.get(url)
    assert whole.headers["content-length"] == str(len(whole.content))
    assert "transfer-encoding" not in whole.headers
    changed = parsedate_to_datetime(whole.headers["last-modified"]).timestamp()
    assert abs(changed - time.time()) < WAIT_SECONDS
    head = client.head(url)
    for name in ("content-length", "last-modified", "etag", "accept-ranges", "repr-digest", "content-type"):
        assert head.headers[name] == whole.headers[name], name
    assert head.content == b""


def test_a_range_is_given_where_the_file_is_still_the_one_that_was_begun(client: httpx.Client) -> None:
    whole = client.get(FILE)
    for validator in (None, whole.headers["etag"], whole.headers["last-modified"]):
        headers = {"Range": "bytes=10-19"} | ({"If-Range": validator} if validator else {})
        part = client.get(FILE, headers=headers)
        assert (part.status_code, part.content) == (206, whole.content[10:20]), validator
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
        assert part.headers["etag"] == whole.headers["etag"]
    other = client.get(FILE, headers={"Range": "bytes=10-19", "If-Range": '"1-other"'})
    assert (other.status_code, other.content) == (200, whole.content)


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
