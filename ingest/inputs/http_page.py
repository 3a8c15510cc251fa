"""What stands in one page of an API's answer: how many records, and where the next page is."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from catalog.dataset import RawForm
from catalog.json_path import parse_records_path
from catalog.sources import Pagination
from ingest.errors import SourceError
from ingest.inputs.http_client import Answer, PassingFailure

PAGE_LIMIT_BYTES = 64 << 20  # of one page among several, which is looked into
WHOLE_LIMIT_BYTES = 16 << 20  # of an answer whose brackets are counted
TAIL_BYTES = 4096
KEYS_SHOWN = 20
KEY_LETTERS = 60
TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


@dataclass(frozen=True)
class PageFacts:
    """What a page tells about the walk."""

    records: int = -1  # unknown
    following: str | None = None  # the next cursor, or the address of the next page


def look_at_page(name: str, answer: Answer, form: RawForm, pagination: Pagination | None) -> PageFacts:
    """The page's facts; its body is at its beginning again.

    PassingFailure where it breaks off. SourceError where it is none.
    """
    body = answer.body
    try:
        if answer.status == 304:
            return PageFacts()
        start = body.read(200).lstrip().lower()
        body.seek(0)
        if start.startswith((b"<!doctype html", b"<html")):
            raise SourceError(f"{name} answered a web page instead of {form.format}.")
        if form.format != "json":
            return PageFacts(count_lines(body.read(), form)) if pagination else PageFacts()
        check_whole(name, answer)
        return look_at_json(name, body.read(), form, pagination) if pagination else PageFacts()
    finally:
        body.seek(0)


def check_whole(name: str, answer: Answer) -> None:
    """PassingFailure where JSON ends before it is closed. What else is wrong with it is the reader's business."""
    answer.body.seek(max(0, answer.size - TAIL_BYTES))
    tail = answer.body.read().rstrip()
    answer.body.seek(0)
    cut_off = bool(tail) and tail[-1:] not in {b"}", b"]"} and tail[:1] in {b"{", b"["}
    if answer.size > TAIL_BYTES:
        cut_off = tail[-1:] not in {b"}", b"]"}
    if answer.size <= WHOLE_LIMIT_BYTES and not cut_off:
        bare = TEXT.sub(b"", answer.body.read())
        answer.body.seek(0)
        cut_off = b'"' in bare or sum(map(bare.count, (b"{", b"["))) > sum(map(bare.count, (b"}", b"]")))
    if cut_off:
        raise PassingFailure(f"{name} answered JSON that breaks off.")


def look_at_json(name: str, body: bytes, form: RawForm, pagination: Pagination) -> PageFacts:
    """The facts of a page that is one JSON document."""
    if not body.strip():
        return PageFacts(0)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            document = json.loads(body)  # NaN and its like are one record's fault, and fail no page
        except (ValueError, RecursionError):
            raise SourceError(f"{name} answered what is no JSON.") from None
    path = parse_records_path(form.records) if form.records else None
    found = descend(name, document, path.keys if path else ())
    records = len(found) if isinstance(found, list) else int(isinstance(found, dict))
    return PageFacts(records, find_text(document, pagination.path) if pagination.path else None)


def descend(name: str, document: Any, keys: tuple[str, ...]) -> Any:
    """What lies at the end of the keys; SourceError, naming what is there instead, where they do not lead on."""
    value = document
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            where = "".join(f".{passed}" for passed in keys[:depth])
            shown = [str(known)[:KEY_LETTERS] for known in value][:KEYS_SHOWN] if isinstance(value, dict) else []
            keys_there = ", ".join(shown) or "none"
            raise SourceError(
                f"{name} has changed its shape: no {key!r} at ${where}; its keys there are: {keys_there}."
            )
        value = value[key]
    return value


def find_text(document: Any, keys: tuple[str, ...]) -> str | None:
    """The cursor or address at the end of the keys; None where there is none: that was all, then."""
    value = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or value is False or value == "":
        return None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise SourceError(f"The next page is said by what is no text, at $.{'.'.join(keys)}.")


def count_lines(body: bytes, form: RawForm) -> int:
    """The records of a page of lines."""
    text = body.decode(form.encoding, "replace")
    if form.format == "ndjson":
        return sum(1 for line in text.split("\n") if line.strip())
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=form.delimiter)
    try:
        count = sum(1 for row in rows if row)
    except csv.Error:
        count = sum(1 for line in text.splitlines() if line.strip())
    return count if form.columns else max(0, count - 1)
