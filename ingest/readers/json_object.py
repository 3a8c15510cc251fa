"""One JSON text -> one raw record, or what keeps it from being one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
import simplejson

from ingest.readers.record_writer import DELETED, RECORD_LIMIT_BYTES

MARKED = b'"%b":true' % DELETED.encode()  # the member that marks a record as deleting its key
DEPTH_LIMIT = 100  # brackets within brackets; deeper is no record but an attack
KINDS = {list: "an array", str: "a text", bool: "true or false", int: "a number", float: "a number"}
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
COLON = re.compile(rb'"[ \t\r\n]*+:')
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
NO_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|\b(?:NaN|Infinity)\b', re.DOTALL)
# The fraction of a number that may lose digits to a reader who takes it for a double: 1.10, 0.12345678901234567.
# What is written with an exponent is a double. Beginning with the point, it is found as fast as points are.
FRACTION = re.compile(rb"\.(?:[0-9]*[0-9]0|[0-9]{9,}|(?<=[0-9]{8}\.)[0-9]+)(?=[ \t\r\n]*[,}])")
WHOLE_BYTES = 40  # before the point, up to the colon
SPACED_COLONS = (b" :", b"\t:", b"\r:", b"\n:")


class MalformedJsonError(ValueError):
    """The text is no raw record; the message says why, after the words "the record"."""


def read_object(raw: bytes) -> dict[str, object]:
    """The record; MalformedJsonError where it is no JSON object, or one that readers disagree about."""
    if len(raw) > RECORD_LIMIT_BYTES:
        raise MalformedJsonError(f"is longer than {RECORD_LIMIT_BYTES:,} bytes")
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedJsonError(describe_malformed(raw, error)) from None
    if not isinstance(record, dict):
        raise MalformedJsonError(f"is not a JSON object but {KINDS.get(type(record), 'null')}")
    if b"\\u0000" in raw and NUL.search(raw):
        raise MalformedJsonError("contains a NUL character")
    if (raw.count(b"{") + raw.count(b"[")) > DEPTH_LIMIT and depth_of(raw) > DEPTH_LIMIT:
        raise MalformedJsonError(f"is nested more than {DEPTH_LIMIT} levels deep")
    # Each key has its colon: with as many keys left as colons, none was there twice.
    if count_colons(raw) != count_keys(record) and (twice := find_twice(raw)) is not None:
        raise MalformedJsonError(f"has the duplicate key {twice!r}")
    return record


def put_in_front(raw: bytes, members: Iterable[bytes]) -> bytes:
    """A JSON object with more members at its beginning; `raw` begins with its bracket."""
    front = b",".join(members)
    if not front:
        return raw
    comma = b"" if raw[1:].lstrip().startswith(b"}") else b","
    return b"{" + front + comma + raw[1:]


def read_plain(raws: Sequence[bytes]) -> list[dict[str, object]] | None:
    """The records, where it is certain at little cost that each text is one, to be taken as it is; else None.

    Each text is in brackets of its own, on a line of its own: a text that is none, or more than one, cannot be
    made good by its neighbours.
    """
    text = b"[[" + b"],\n[".join(raws) + b"]]"
    if max(map(len, raws)) > RECORD_LIMIT_BYTES or b"\\u0000" in text:
        return None
    try:
        singles = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if len(singles) != len(raws) or any(len(single) != 1 or type(single[0]) is not dict for single in singles):
        return None
    records = [single[0] for single in singles]
    objects = text.count(b"{")
    if objects + text.count(b"[") > 2 * len(raws) + DEPTH_LIMIT and any(
        raw.count(b"{") + raw.count(b"[") > DEPTH_LIMIT for raw in raws
    ):
        return None
    keys = sum(map(count_keys, records)) if objects > len(raws) else sum(map(len, records))
    if count_colons(text) != keys or next(find_inexact(text), None):
        return None
    return records


def count_colons(text: bytes) -> int:
    """How many colons follow a text in quotes: at least as many as there are keys, and no more but for odd texts."""
    spaced = any(text.count(spaced) for spaced in SPACED_COLONS)
    return len(COLON.findall(text)) if spaced else text.count(b'":')


def find_inexact(text: bytes) -> Iterator[tuple[int, int]]:
    """Where there are values of keys that are numbers which, read as a double, are written otherwise."""
    for match in FRACTION.finditer(text):
        point, end = match.span()
        colon = text.rfind(b":", max(0, point - WHOLE_BYTES), point)
        whole = text[colon + 1 : point].lstrip()
        if colon >= 0 and whole.removeprefix(b"-").isdigit():
            number = text[point - len(whole) : end]
            if repr(float(number)).encode() != number:
                yield point - len(whole), end


def keep_digits(raw: bytes) -> bytes:
    """The record with every digit of its own numbers: those that would lose some become texts."""
    found = list(find_inexact(raw))
    if not found:
        return raw
    if raw.count(b"{") == 1 and b"[" not in raw and b"\\" not in raw:
        # In a flat record without escapes, an even number of quotes lies before what is in none.
        pieces, last = [], 0
        for start, end in found:
            if raw.count(b'"', 0, start) % 2 == 0:
                pieces += [raw[last:start], b'"', raw[start:end], b'"']
                last = end
        return b"".join([*pieces, raw[last:]])
    record = json.loads(raw, parse_float=simplejson.RawJSON)
    for key, value in record.items():
        if isinstance(value, simplejson.RawJSON) and repr(float(value.encoded_json)) != value.encoded_json:
            record[key] = value.encoded_json
    return simplejson.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def describe_malformed(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """What is wrong with a text that is no JSON, in a person's words where they are better known."""
    if b"\0" in raw:
        return "contains a NUL character"
    if error.msg.startswith("depth"):
        return f"is nested more than {DEPTH_LIMIT} levels deep"
    try:
        raw.decode()
    except UnicodeDecodeError as found:
        return f"is not utf-8 (byte {found.start + 1})"
    for match in NO_NUMBER.finditer(raw):
        if not match[0].startswith(b'"'):
            return f"holds {match[0].decode()}, which is not a JSON number"
    return f"is not JSON: {error.msg} (character {error.pos + 1})"


def depth_of(raw: bytes) -> int:
    """How deep its brackets are nested."""
    depth = deepest = 0
    for match in TOKEN.finditer(raw):
        if match[0] in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in b"]}":
            depth -= 1
    return deepest


def count_keys(value: Any) -> int:
    """How many keys there are in a value and in all that it holds."""
    if isinstance(value, dict):
        return len(value) + sum(count_keys(item) for item in value.values() if isinstance(item, dict | list))
    return sum(count_keys(item) for item in value if isinstance(item, dict | list))


def find_twice(raw: bytes) -> str | None:
    """A key that one of the objects has twice; None where there is none."""
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(raw, object_pairs_hook=look)
    return found[0] if found else None
