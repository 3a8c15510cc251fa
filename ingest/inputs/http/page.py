"""Inspects one page of an API response: number of records, and the next page.

A page is looked at as its reader sees it, unpacked and decoded, and its records are counted by that reader. "No list
here" is not "no more records": a page without one, amid a walk, fails the load unless the contract calls it the end.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from catalog.model.dataset import FileFormat
from catalog.model.sources import Pagination
from catalog.types.json_path import parse_records_path
from ingest.errors import SourceError, SourceTooLargeError
from ingest.http_client.client import MEMORY_BYTES, Answer, TransientFailure
from ingest.inputs.http.page_sink import PageRecordWriter
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import make_reader
from ingest.readers.text_encoding import open_text
from runtime.json_types import Json

PAGE_LIMIT_BYTES = 64 << 20  # of one page among several, which is looked into
WHOLE_LIMIT_BYTES = 16 << 20  # of an answer whose brackets are counted
TAIL_BYTES = 4096
HEAD_BYTES = 200
COPY_BYTES = 1 << 20
KEYS_SHOWN = 20
KEY_LETTERS = 60
TEXT_FORMATS = ("json", "ndjson", "csv")
TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# What an answer begins with that is packed, or a text of another encoding than ASCII.
ODD_START = re.compile(rb"BZh|PK[\x03\x05]|.{0,3}[^\t\n\r\x20-\x7e]", re.DOTALL)
NOTHING = object()  # no value, not even null


@dataclass(frozen=True)
class PageSummary:
    """What a page says about the walk."""

    records: int = -1  # unknown
    following: str | None = None  # the next cursor, or the address of the next page
    columns: tuple[str, ...] | None = None  # of a page of CSV


@dataclass(frozen=True)
class PageInspector:
    """How the pages of one walk are looked at."""

    pagination: Pagination | None
    folder: Path  # for answers that must be files to be read
    limit: UnpackLimit

    def inspect_page(
        self, name: str, number: int, answer: Answer, file_format: FileFormat, record_writer: PageRecordWriter
    ) -> PageSummary:
        """The page's facts; its body is at its beginning again.

        TransientFailure where it breaks off. SourceError where it is no page.
        """
        if answer.status == 304:
            return PageSummary()
        try:
            with self.open_plain(name, answer, file_format) as plain:
                check_whole(name, plain, file_format)
                if self.pagination is None and not record_writer.wanted:
                    return PageSummary()
                return self.inspect_body(name, number, answer, plain, file_format, record_writer)
        finally:
            answer.body.seek(0)

    def inspect_body(
        self,
        name: str,
        number: int,
        answer: Answer,
        plain: IO[bytes],
        file_format: FileFormat,
        record_writer: PageRecordWriter,
    ) -> PageSummary:
        """The facts of a page whose text lies in `plain`."""
        facts = PageSummary()
        if self.pagination:
            found = self.find_list(name, number, answer, plain, file_format, self.pagination)
            if not found.there:
                return PageSummary(0, found.following)
            facts = PageSummary(following=found.following)
        before = record_writer.raw
        with self.as_part(name, answer, file_format) as part:
            make_reader(file_format, self.limit, self.folder).parse(part, record_writer)
        columns = record_writer.parts[-1].columns if record_writer.parts else None
        return PageSummary(record_writer.raw - before, facts.following, columns)

    def find_list(
        self,
        name: str,
        number: int,
        answer: Answer,
        plain: IO[bytes],
        file_format: FileFormat,
        pagination: Pagination,
    ) -> FoundList:
        """Whether the page holds a list of records; SourceError where it holds none, and should."""
        lenient = number == 1 or pagination.until_missing
        by_content = bool(pagination.path)  # whether the page itself says where the next one is
        if answer.status == 204 and (lenient or not by_content):
            return FoundList(there=False)  # the server says that there is nothing
        plain.seek(0)
        text = plain.read()
        if not text.strip() and file_format.format != "ndjson" and not file_format.columns:
            if lenient:
                return FoundList(there=False)
            raise TransientFailure(f"{name} returned an empty response instead of a list of records.")
        if file_format.format != "json":
            return FoundList(there=True)
        document = read_json(name, text)
        following = find_text(document, pagination.path) if by_content else None
        path = parse_records_path(file_format.records) if file_format.records else None
        keys = path.keys if path else ()
        found = descend(name, document, keys, missing=NOTHING if pagination.until_missing else None)
        if isinstance(found, list) or (isinstance(found, dict) and path is not None):
            return FoundList(there=True, following=following)
        if pagination.until_missing or (number == 1 and found is None):
            return FoundList(there=False, following=following)
        raise SourceError(f"{name} has {describe_kind(found)} at {describe_path(keys)} instead of a list of records.")

    @contextmanager
    def open_plain(self, name: str, answer: Answer, file_format: FileFormat) -> Iterator[IO[bytes]]:
        """The answer's text in UTF-8; what is no text, as it came."""
        answer.body.seek(0)
        odd = ODD_START.match(answer.body.read(4))
        answer.body.seek(0)
        if file_format.format not in TEXT_FORMATS or not odd:
            yield answer.body
            return
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=str(self.folder)) as plain:
            with self.as_part(name, answer, file_format) as part:
                try:
                    with open_text(part, self.limit, file_format, always=True, anything=True) as text:
                        while piece := text.stream.read(COPY_BYTES):
                            plain.write(piece)
                except SourceTooLargeError:
                    raise
                except (SourceError, EOFError, OSError):
                    raise TransientFailure(f"{name} returned a damaged archive.") from None
            plain.seek(0)
            yield plain

    @contextmanager
    def as_part(self, name: str, answer: Answer, file_format: FileFormat) -> Iterator[LandedPart]:
        """The answer in a file, as readers take it."""
        answer.body.seek(0)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="page-") as file:
            shutil.copyfileobj(answer.body, file)
            file.flush()
            yield LandedPart(name, "", Path(file.name), answer.size, file_format)


@dataclass(frozen=True)
class FoundList:
    """Whether a page holds a list, and where it says that the next one is."""

    there: bool
    following: str | None = None


def check_whole(name: str, plain: IO[bytes], file_format: FileFormat) -> None:
    """SourceError for a web page, TransientFailure where JSON ends before it is closed.

    What else is wrong with it is the reader's business.
    """
    start = plain.read(HEAD_BYTES).lstrip().lower()
    size = plain.seek(0, 2)
    if start.startswith((b"<!doctype html", b"<html")):
        raise SourceError(f"{name} returned a web page instead of {file_format.format}.")
    if file_format.format != "json":
        return
    plain.seek(max(0, size - TAIL_BYTES))
    tail = plain.read().rstrip()
    is_truncated = bool(tail) and tail[-1:] not in {b"}", b"]"} and tail[:1] in {b"{", b"["}
    if size > TAIL_BYTES:
        is_truncated = tail[-1:] not in {b"}", b"]"}
    if size <= WHOLE_LIMIT_BYTES and not is_truncated:
        plain.seek(0)
        bare = TEXT.sub(b"", plain.read())
        is_truncated = b'"' in bare or sum(map(bare.count, (b"{", b"["))) > sum(map(bare.count, (b"}", b"]")))
    if is_truncated:
        raise TransientFailure(f"{name} returned incomplete JSON.")


def read_json(name: str, text: bytes) -> Json:
    """A JSON document; SourceError where it is none."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        found: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            found = json.loads(text)  # NaN and its like are one record's fault, and fail no page
        except (ValueError, RecursionError):
            raise SourceError(f"{name} returned invalid JSON.") from None
    return found


def descend(name: str, document: Json, keys: tuple[str, ...], missing: object = None) -> object:
    """What lies at the end of the keys; SourceError, naming what is there instead, where they do not lead on.

    With `missing`, that where they do not.
    """
    value: object = document
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            if missing is not None:
                return missing
            shown = [str(known)[:KEY_LETTERS] for known in value][:KEYS_SHOWN] if isinstance(value, dict) else []
            keys_there = ", ".join(shown) or "none"
            raise SourceError(
                f"{name} has another structure: no {key!r} at {describe_path(keys[:depth])};"
                f" its keys there are: {keys_there}."
            )
        value = value[key]
    return value


def describe_path(keys: tuple[str, ...]) -> str:
    """The keys as a JSON path."""
    return "$" + "".join(f".{key}" for key in keys)


def describe_kind(value: object) -> str:
    """What kind of value it is, for a person."""
    kinds = {str: "a text", bool: "true or false", int: "a number", float: "a number", dict: "an object"}
    return kinds.get(type(value), "null")


def find_text(document: Json, keys: tuple[str, ...]) -> str | None:
    """The cursor or address at the end of the keys; None where there is none: that was all, then."""
    value = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or value is False or value == "":
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise SourceError(f"The next page is not a text, at $.{'.'.join(keys)}.")
