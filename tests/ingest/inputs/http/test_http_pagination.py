"""Where a walk over an API's pages ends, and where it must not: on a real server, each page counted as it is read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import SourceError
from ingest.http_client import client as http_client
from ingest.inputs import open_batch
from ingest.inputs.raw_batch import InputContext
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.landing_zone import land
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import parse_batch
from tests.support.lab import Lab
from tests.support.quakes import PAGED_QUAKES
from tests.support.remote_api import Asked, RemoteApi, Reply, run_remote_api

LIST = 'records: "$.data[*]", '
PEOPLE = [{"id": number, "place": f"place {number}"} for number in range(1, 11)]


@pytest.fixture(scope="module")
def api() -> Iterator[RemoteApi]:
    """One server for all tests of this file."""
    with run_remote_api() as api:
        yield api


@pytest.fixture
def remote(api: RemoteApi, monkeypatch: pytest.MonkeyPatch) -> RemoteApi:
    """The server, and no patience with it."""
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.001)
    monkeypatch.setenv("API_URL", api.url)
    api.asked.clear()
    return api


def walk(folder: Path, words: str) -> tuple[LandedBatch, int]:
    """The batch that an input of these words brings, and how many records its reader finds in it."""
    lab = Lab.build(folder, None, PAGED_QUAKES.format(input=f"retries: 1, {words}"))  # type: ignore[arg-type]
    dataset = lab.dataset("quakes.quakes")
    assert dataset.input
    place = InputContext(dataset, lab.settings, None, None, 1)  # type: ignore[arg-type]
    with open_batch(place) as batch:
        landed = land(batch, lab.landing, 1 << 30, lambda amount: None)
    cut = parse_batch(landed, dataset.input.file_format, (), folder, UnpackLimit(1 << 30), lambda amount: None)
    return landed, cut.raw


def pack(text: bytes) -> bytes:
    """The text as gzip has it, the same at any time."""
    return gzip.compress(text, mtime=0)


def pages_of(kind: str, broken: Reply | None, at: int = 2) -> Callable[[Asked], Reply]:
    """PEOPLE in pages of three, in one of the four ways; page `at` is the broken one, where there is one."""

    def answer(asked: Asked) -> Reply:
        given = int(asked.params.get(kind, {"page": "1"}.get(kind, "0")))
        start = (given - 1) * 3 if kind == "page" else given
        if broken is not None and start == (at - 1) * 3:
            return broken
        following = start + 3 if start + 3 < len(PEOPLE) else None
        headers = {"Link": f'</v1/quakes?link={following}>; rel="last next"'} if following else {}
        return Reply({"data": PEOPLE[start : start + 3], "next": following}, headers=headers)

    return answer


KINDS = {
    "link": "pagination: {type: link}",
    "cursor": "pagination: {type: cursor, cursor: $.next}",
    "page": "pagination: {type: page}",
    "offset": "pagination: {type: offset}",
}
NO_LISTS = [
    (b"", "returned an empty response instead of a list of records"),
    (b" \n", "returned an empty response instead of a list of records"),
    ({"data": "rate limit exceeded"}, "has a text at $.data"),
    ({"data": None}, "has null at $.data"),
    ({"data": 0}, "has a number at $.data"),
    ({"data": False, "next": None}, "has true or false at $.data"),
    ({"error": "slow down"}, "no 'data' at $; its keys there are: error"),
    ([], "no 'data' at $; its keys there are: none"),
    ("", "no 'data' at $"),
    (None, "no 'data' at $"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("body", "words"), NO_LISTS)
def test_a_page_without_a_list_amid_a_walk_fails_it(
    remote: RemoteApi, tmp_path: Path, kind: str, body: Any, words: str
) -> None:
    remote.answer = pages_of(kind, Reply(body))
    with pytest.raises(SourceError, match=r"page 2,") as raised:
        walk(tmp_path, LIST + KINDS[kind])
    assert words in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_list_ends_a_walk_only_where_pages_are_numbered(
    remote: RemoteApi, tmp_path: Path, kind: str
) -> None:
    complete = pages_of(kind, None)

    def answer(asked: Asked) -> Reply:
        reply = complete(asked)
        second = reply.body["data"] and reply.body["data"][0]["id"] == 4
        return Reply(reply.body | {"data": []}, headers=reply.headers) if second else reply

    remote.answer = answer
    landed, raw = walk(tmp_path, LIST + KINDS[kind])
    assert raw == (7 if kind in {"link", "cursor"} else 3)
    assert [part.name for part in landed.parts] == (
        ["page 1", "page 3", "page 4"] if kind in {"link", "cursor"} else ["page 1"]
    )


@pytest.mark.parametrize("reply", [Reply({"data": None}), Reply({"more": False}), Reply(b""), Reply(status=204)])
@pytest.mark.parametrize("kind", ["page", "offset"])
def test_a_contract_may_call_a_page_without_a_list_the_end(
    remote: RemoteApi, tmp_path: Path, kind: str, reply: Reply
) -> None:
    remote.answer = pages_of(kind, reply, at=5)
    # The fourth page has one record: the offset of the fifth would be 10.
    if kind == "offset":
        complete = pages_of(kind, None)
        remote.answer = lambda asked: reply if asked.params["offset"] == "10" else complete(asked)
    words = LIST + KINDS[kind].replace("}", ", until: missing}")
    assert walk(tmp_path, words)[1] == 10


def test_no_content_is_an_empty_page_where_pages_are_numbered_and_no_page_where_it_would_name_the_next(
    remote: RemoteApi, tmp_path: Path
) -> None:
    complete = pages_of("offset", None)
    remote.answer = lambda asked: Reply(status=204) if asked.params["offset"] == "10" else complete(asked)
    assert walk(tmp_path, LIST + KINDS["offset"])[1] == 10
    remote.answer = pages_of("cursor", Reply(status=204))
    with pytest.raises(SourceError, match="page 2, returned an empty response"):
        walk(tmp_path, LIST + KINDS["cursor"])


@pytest.mark.parametrize(
    ("form", "body", "words"),
    [
        ("csv", b"", "returned an empty response instead of a list of records"),
        ("csv", b"Too many requests\n", "Page 2 .* has different columns from the first page: Too many requests"),
        ("csv", b"id,place\n", "has different columns from the first page: id, place"),
        ("ndjson", b"<!doctype html><p>Sorry", "a web page instead of ndjson"),
    ],
)
def test_a_page_of_lines_that_is_none_fails_the_walk(
    remote: RemoteApi, tmp_path: Path, form: str, body: bytes, words: str
) -> None:
    good = {"csv": b"id,place,updated\n1,a,\n2,b,\n", "ndjson": b'{"id":1}\n{"id":2}\n'}[form]
    remote.answer = lambda asked: Reply(good if asked.params["offset"] == "0" else body)
    with pytest.raises(SourceError, match=words):
        walk(tmp_path, f"format: {form}, pagination: {{type: offset}}")


def test_pages_of_lines_are_counted_as_their_reader_cuts_them(remote: RemoteApi, tmp_path: Path) -> None:
    head = b"place,id,updated\n"
    pages = {
        "0": b'id,place,updated\n1,"a\nb",\n\n2,"never closed,\n3,c,\n',
        "3": head + b"d,4,\r\n\r\n",
        "4": head,
    }
    remote.answer = lambda asked: Reply(pages[asked.params["offset"]])
    assert walk(tmp_path, "format: csv, pagination: {type: offset}")[1] == 4
    lines = {"0": b'{"id":1}\n\n \t\r\n{"id":2}\nnone\n', "3": b"\xc2\xa0\n", "4": b"\n \n"}
    remote.answer = lambda asked: Reply(lines[asked.params["offset"]])
    assert walk(tmp_path, "format: ndjson, pagination: {type: offset}")[1] == 4


@pytest.mark.parametrize("records", ["$.data[*]", "$.data"])
def test_an_object_of_objects_counts_as_its_reader_counts_it(remote: RemoteApi, tmp_path: Path, records: str) -> None:
    """With `[*]` each member is a record, without it the object is one: the next offset follows."""

    def answer(asked: Asked) -> Reply:
        start = int(asked.params["offset"])
        if records == "$.data":
            return Reply({"data": PEOPLE[start] if start < len(PEOPLE) else []})
        return Reply({"data": {f"k{person['id']}": person for person in PEOPLE[start : start + 4]}})

    remote.answer = answer
    assert walk(tmp_path, f'records: "{records}", pagination: {{type: offset}}')[1] == 10
    asked = [request.params["offset"] for request in remote.asked]
    assert asked == (["0", "4", "8", "10"] if records == "$.data[*]" else [str(n) for n in range(11)])


def test_a_key_that_stands_twice_in_an_object_of_objects_is_two_records(remote: RemoteApi, tmp_path: Path) -> None:
    pages = {
        "0": b'{"data": {"a": {"id": 1}, "a": {"id": 2}}}',
        "2": b'{"data": {"b": {"id": 3}}}',
        "3": b'{"data": {}}',
    }
    remote.answer = lambda asked: Reply(pages[asked.params["offset"]])
    assert walk(tmp_path, LIST + KINDS["offset"])[1] == 3


def test_short_pages_end_a_walk_only_where_the_contract_says_so(remote: RemoteApi, tmp_path: Path) -> None:
    sizes = {"1": 3, "2": 1, "3": 3, "4": 0}
    remote.answer = lambda asked: Reply(
        {"data": [{"id": int(asked.params["page"]) * 10 + n} for n in range(sizes[asked.params["page"]])]}
    )
    assert walk(tmp_path, LIST + "pagination: {type: page, size: 3}")[1] == 7
    assert walk(tmp_path, LIST + "pagination: {type: page, size: 3, until: short}")[1] == 4


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("paged", [True, False])
def test_answers_are_unpacked_and_decoded_before_they_are_checked(
    remote: RemoteApi, tmp_path: Path, wide: bool, paged: bool
) -> None:
    def answer(asked: Asked) -> Reply:
        start = int(asked.params.get("offset", "0"))
        body = {"data": PEOPLE[start : start + 4] if paged else PEOPLE}
        text = json.dumps(body)
        return Reply(text.encode("utf-16") if wide else pack(text.encode()))

    remote.answer = answer
    assert walk(tmp_path, LIST + (KINDS["offset"] if paged else "mode: snapshot"))[1] == 10


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (pack(b"<html>Log in"), "a web page instead of json"),
        ("<!doctype html>".encode("utf-16"), "a web page instead of json"),
        (pack(b'{"data": [{"id": 1}'), "returned incomplete JSON"),
        ('{"data": [{"id": 1}'.encode("utf-16"), "returned incomplete JSON"),
        (pack(b'{"data": []}')[:-9], "returned a damaged archive"),
        (pack(b'{"data": "none"}'), "has a text at"),
    ],
)
def test_what_packed_answers_hold_is_checked_too(remote: RemoteApi, tmp_path: Path, body: bytes, words: str) -> None:
    remote.play(Reply(body))
    with pytest.raises(SourceError, match=words):
        walk(tmp_path, LIST + KINDS["page"])


def test_an_encoding_that_an_answer_names_is_believed_of_json_where_it_is_a_wide_one(
    remote: RemoteApi, tmp_path: Path
) -> None:
    for charset, encoding in (("utf-16be", "utf-16-be"), ("ISO-8859-1", "utf-8")):
        body = json.dumps({"data": [{"id": 1, "place": "Zürich"}]}, ensure_ascii=False).encode(encoding)
        remote.play(Reply(body, headers={"Content-Type": f"application/json; charset={charset}"}))
        assert walk(tmp_path, LIST + "mode: snapshot")[1] == 1


@pytest.mark.slow
def test_nothing_is_deleted_by_a_page_that_is_none(
    remote: RemoteApi, make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(PAGED_QUAKES.format(input=f"retries: 0, {LIST} {KINDS['page']}"))
    remote.answer = pages_of("page", None)
    dataset = lab.dataset("quakes.quakes")
    assert lab.loader().run(dataset).status == "published"
    for body in (b"", {"data": "try again"}, {"data": None}):
        remote.answer = pages_of("page", Reply(body))
        report = lab.loader().run(dataset)
        assert (report.status, "page 2" in str(report.error)) == ("failed", True)
    assert lab.rows("SELECT count(*) FROM quakes_v1.quakes") == [(10,)]
    assert list(lab.settings.work_folder.iterdir()) == []
