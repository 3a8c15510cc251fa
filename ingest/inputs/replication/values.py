"""Values of Postgres as texts -> JSON, as `row_to_json` writes them. Pure.

A snapshot's rows and changed rows come in one form, the texts of the types' output functions, and are written by one
function: a row is the same raw record whichever way it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import orjson
from psycopg.postgres import types as known_types

from ingest.inputs.database.postgres import BIT, BYTEA, COUNTED, PADDED, VARBIT

BOOL, JSON, JSONB, TIMESTAMP, TIMESTAMPTZ = 16, 114, 3802, 1114, 1184
NUMBERS = frozenset((20, 21, 23, 26, 700, 701, 1700))
NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][+-]?\d+)?")  # NaN and Infinity are none, and stay texts
MOMENT = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?")
ARRAY_WORD = re.compile(r'\{|\}|,|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
BOUNDS = re.compile(r"(?:\[[-\d]+:[-\d]+\])+=")  # before an array that does not begin at 1


@dataclass(frozen=True)
class Types:
    """What the source knows of types that are its own, or of every database."""

    bases: Mapping[int, int] = field(default_factory=dict)  # a domain -> what it is a domain over
    elements: Mapping[int, int] = field(default_factory=dict)  # an array -> what its elements are

    def base(self, oid: int) -> int:
        """The type itself, without domains around it."""
        while oid in self.bases:
            oid = self.bases[oid]
        return oid


def element_of(oid: int, types: Types) -> int | None:
    """The type of an array's elements; None of what is no array."""
    if oid in types.elements:
        return types.elements[oid]
    known = known_types.get(oid)
    return known.oid if known is not None and known.array_oid == oid else None


def write_value(value: bytes, oid: int, kind: str | None, types: Types) -> bytes:
    """A text of a type as JSON; `kind` is the type of the property that reads its column."""
    oid = types.base(oid)
    if oid in NUMBERS and NUMBER.fullmatch(value):
        return value
    if oid == BOOL:
        return b"true" if value in (b"t", b"true") else b"false"
    if oid in (JSON, JSONB):
        # A line break can only be between values: in a text it is written as an escape.
        return value.replace(b"\n", b" ").replace(b"\r", b" ")
    if (element := element_of(oid, types)) is not None:
        with suppress(ValueError, RecursionError, UnicodeDecodeError):
            return write_array(value.decode(), element, types)
    return write_text(value, oid, kind)


def write_text(value: bytes, oid: int, kind: str | None) -> bytes:
    """A value that JSON has no form for, as a JSON text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        # No UTF-8: it stays so, and is the fault of its record alone.
        shown = json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False)
        return shown.encode("utf-8", "surrogateescape")
    if oid in (TIMESTAMP, TIMESTAMPTZ) and (found := MOMENT.fullmatch(text)):
        text = f"{found[1]}T{found[2]}" + ("+00:00" if found[3] else "")
    elif oid == PADDED:
        text = text.rstrip(" ")
    elif oid in (BIT, VARBIT) and kind in COUNTED:
        text = str(int(text, 2)) if text else ""
    elif oid == BYTEA and kind == "uuid" and len(text) == 34:
        text = str(UUID(text[2:]))
    return orjson.dumps(text)


def write_array(text: str, element: int, types: Types) -> bytes:
    """An array as JSON; ValueError where it cannot be read."""
    text = BOUNDS.sub("", text, count=1)
    done: list[bytes] = []
    place = 0
    depth = 0
    while place < len(text):
        found = ARRAY_WORD.match(text, place)
        if found is None:
            raise ValueError(text)
        place = found.end()
        match found[0][0]:
            case "{":
                depth += 1
                done.append(b"[")
            case "}":
                depth -= 1
                done.append(b"]")
            case ",":
                done.append(b",")
            case '"':
                inner = re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)
                done.append(write_value(inner.encode(), element, None, types))
            case _:
                done.append(b"null" if found[0] == "NULL" else write_value(found[0].encode(), element, None, types))
    if depth or not done:
        raise ValueError(text)
    return b"".join(done)
