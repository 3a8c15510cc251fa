"""Exports that are kept as files, as they are served: in ranges, within their room, and beside erasures."""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import psycopg
import pyarrow.parquet as pq
import pytest

from catalog.model.load_request import Erase
from runtime.postgres.database import INGEST_ROLE, READ_ROLE
from tests.support.lab import Lab

FILE = "/data/people/v1/people/export?at=1&format=parquet"
FIRST = "id,name,age,born\n1,Ann,30,\n2,Ben,40,\n3,Cid,50,\n"
WITHOUT_BEN = "id,name,age,born\n1,Ann,30,\n3,Cid,50,\n"
LAST = 5000  # the key of the last of many records
LOCK = 7
ROOM_BYTES = 1500  # for two files, not for four
WAIT_SECONDS = 20.0
# XlsxWriter closes nothing when a file that it needs is gone.
LEFT_OPEN = "ignore::pytest.PytestUnraisableExceptionWarning"


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


def half_made(lab: Lab) -> list[Path]:
    """The files that are being made, or hold what is needed for it."""
    return [path for path in kept_files(lab) if path.suffix not in {".lock", ".parquet", ".xlsx", ".sha256"}]


def wait_until(holds: Callable[[], Any]) -> None:
    """Nothing comes back; the condition holds by now."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


@contextmanager
def held_midway(lab: Lab) -> Iterator[None]:
    """Has whoever reads wait before the last of many records, when most of them have been sent."""
    many = f"SELECT id, 'x', 1 FROM generate_series(10, {LAST}) AS id"
    before_last = f"CASE WHEN id = {LAST} THEN pg_advisory_xact_lock_shared({LOCK}) IS NOT NULL ELSE true END"
    with psycopg.connect(lab.urls.owner, autocommit=True) as holder:
        for statement in (
            f"INSERT INTO people_v1.people (id, name, _revision) {many}",
            "ALTER TABLE people_v1.people ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE people_v1.people_history ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY writing ON people_v1.people TO {INGEST_ROLE} USING (true)",
            f"CREATE POLICY writing ON people_v1.people_history TO {INGEST_ROLE} USING (true)",
            f"CREATE POLICY reading ON people_v1.people TO {READ_ROLE} USING ({before_last})",
            f"CREATE POLICY reading ON people_v1.people_history TO {READ_ROLE} USING (true)",
            # In order, record by record: a sort would begin when the last one is there.
            f'ALTER DATABASE "{holder.info.dbname}" SET enable_seqscan = off',
            f'ALTER DATABASE "{holder.info.dbname}" SET enable_bitmapscan = off',
            f"SELECT pg_advisory_lock({LOCK})",
        ):
            holder.execute(statement.encode())
        yield


def erase_ben(lab: Lab) -> str:
    """How the erasure ended."""
    return lab.loader().run(lab.dataset("people.people"), request=Erase(("2",))).status


def keys_of(answer: httpx.Response) -> list[Any]:
    """The keys in a file of whatever form."""
    assert answer.status_code == 200, answer.text
    if "parquet" in answer.headers["content-type"]:
        keys: list[Any] = pq.read_table(io.BytesIO(answer.content))["id"].to_pylist()
        return keys
    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    assert sheet is not None
    return [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)]


@pytest.mark.sampled
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


def test_a_file_that_was_not_made_again_answers_if_modified_since(client: httpx.Client) -> None:
    whole = client.get(FILE)
    modified = whole.headers["last-modified"]
    again = client.get(FILE, headers={"If-Modified-Since": modified})
    assert (again.status_code, again.content) == (304, b"")
    assert (again.headers["etag"], again.headers["last-modified"]) == (whole.headers["etag"], modified)
    for headers in (
        {"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"},
        {"If-Modified-Since": "yesterday"},
        {"If-Modified-Since": modified, "If-None-Match": '"other"'},
    ):
        assert client.get(FILE, headers=headers).content == whole.content
    # Of which revision the file would be is not said here.
    newest = client.get(FILE.replace("at=1", "id[gte]=0"), headers={"If-Modified-Since": modified})
    assert newest.status_code == 200


def test_a_range_that_means_nothing_is_none(client: httpx.Client) -> None:
    whole = client.get(FILE)
    other = client.get(FILE, headers={"Range": "items=0-9"})
    assert (other.status_code, other.content) == (200, whole.content)
    head = client.head(FILE, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))


def test_a_range_that_is_not_there_or_cannot_be_read_is_a_problem(client: httpx.Client) -> None:
    length = len(client.get(FILE).content)
    beyond = client.get(FILE, headers={"Range": f"bytes={length}-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{length}"
    wrong = client.get(FILE, headers={"Range": "bytes=9-1"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "bad_request")
    assert wrong.headers["content-type"] == "application/problem+json"


def test_of_a_set_of_ranges_those_are_given_that_are_there(client: httpx.Client) -> None:
    whole = client.get(FILE).content
    beyond = len(whole)
    for others in (f"{beyond}-", f"{beyond + 9}-{beyond + 99}", "-0", "9" * 30 + "-"):
        part = client.get(FILE, headers={"Range": f"bytes={others}, 10-19"})
        assert (part.status_code, part.content) == (206, whole[10:20]), others
    two = client.get(FILE, headers={"Range": f"bytes=0-3,{beyond}-,-4"})
    assert two.status_code == 206
    assert two.headers["content-type"].startswith("multipart/byteranges")
    assert two.content.count(b"PAR1") == 2
    none = client.get(FILE, headers={"Range": f"bytes={beyond}-,-0"})
    assert (none.status_code, none.json()["code"]) == (416, "range_not_satisfiable")


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


@pytest.mark.slow
@pytest.mark.filterwarnings(LEFT_OPEN)
@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_what_is_being_made_while_a_record_of_it_is_erased_is_neither_sent_nor_kept(
    people: Lab, client: httpx.Client, form: str
) -> None:
    with ThreadPoolExecutor(1) as threads:
        with held_midway(people):
            asked = threads.submit(client.get, FILE.replace("parquet", form))
            wait_until(lambda: half_made(people) or asked.done())
            assert erase_ben(people) == "published"
            assert not asked.done(), asked.result()
        assert (asked.result().status_code, asked.result().json()["code"]) == (410, "revision_gone")
    gc.collect()
    assert [path for path in kept_files(people) if path.suffix != ".lock"] == []


@pytest.mark.slow
@pytest.mark.filterwarnings(LEFT_OPEN)
@pytest.mark.parametrize("form", ["parquet", "xlsx"])
def test_what_is_being_made_while_an_older_record_is_erased_is_made_again(
    people: Lab, client: httpx.Client, form: str
) -> None:
    assert people.ingest("people.people", WITHOUT_BEN).status == "published"
    url = FILE.replace("parquet", form).replace("at=1", "at=2")
    with ThreadPoolExecutor(1) as threads:
        with held_midway(people):
            asked = threads.submit(client.get, url)
            wait_until(lambda: half_made(people) or asked.done())
            assert erase_ben(people) == "unchanged"
            assert not asked.done(), asked.result()
        assert keys_of(asked.result()) == [1, 3, *range(10, LAST + 1)]
    gc.collect()
    assert asked.result().content == client.get(url).content
    assert half_made(people) == []
