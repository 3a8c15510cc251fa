"""Rows of a database, as its driver gives them -> NDJSON. Pure.

Values are written as the properties that read their columns take them: a length of time is a time of day there, and
bits are true or false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import simplejson

Writer = Callable[[Any], Any]
WHOLE = ("integer", "smallint", "bigint")
EXACT_FLOAT = 2**53  # a float beyond it may mean several integers
# Codes by which PyMySQL and mysqlclient name columns' types.
MYSQL_TIMESTAMP = 7
MYSQL_BIT = 16
MIDNIGHT = datetime(1970, 1, 1)  # noqa: DTZ001 - of any day, on any clock


def write_rows(names: Sequence[str], rows: Iterable[Sequence[object]], writers: Sequence[Writer] = ()) -> bytes:
    """One JSON object in a line for each row; what is no UTF-8 stays so, and is the fault of its row alone."""
    chosen = writers or [plain] * len(names)
    return b"".join(encode(write_row(names, row, chosen)) + b"\n" for row in rows)


def write_row(names: Sequence[str], row: Sequence[object], writers: Sequence[Writer]) -> str:
    """One row as JSON: numbers with all their digits, null apart from the empty text."""
    return simplejson.dumps(
        {name: write(value) for name, value, write in zip(names, row, writers, strict=True)},
        ensure_ascii=False,
        separators=(",", ":"),
        use_decimal=False,
        ignore_nan=False,
    )


def encode(text: str) -> bytes:
    """A row as bytes: what was no UTF-8 is so again, other halves of characters become escapes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def choose_writer(kind: str | None, code: object = None, *, mysql: bool = False) -> Writer:
    """How the values of a column are written that a property of this type reads; `code` is the driver's type."""

    def write(value: object) -> object:
        if isinstance(value, datetime) and value.tzinfo is None and mysql and code == MYSQL_TIMESTAMP:
            value = value.replace(tzinfo=UTC)  # the session's zone; a DATETIME has none
        if isinstance(value, bytes | bytearray | memoryview):
            value = read_bits(bytes(value), kind, is_bit=mysql and code == MYSQL_BIT)
        return plain(fit(value, kind))

    return write


def read_bits(value: bytes, kind: str | None, *, is_bit: bool) -> object:
    """Bytes as the number, the truth or the UUID that they mean; other numbers than 0 and 1 are no truth."""
    number = int.from_bytes(value, "big")
    if kind == "boolean" and value and number in (0, 1):
        return bool(number)
    if is_bit:
        return number
    return UUID(bytes=value) if kind == "uuid" and len(value) == 16 else value


def fit(value: object, kind: str | None) -> object:
    """The value in the type of its property, where that loses nothing."""
    match value:
        case timedelta() if kind == "time" and timedelta(0) <= value < timedelta(days=1):
            return (MIDNIGHT + value).time()
        case datetime() if kind == "date" and value.tzinfo is None and value.time() == time():
            return value.date()
        case float() if kind in WHOLE and value.is_integer() and abs(value) < EXACT_FLOAT:
            return int(value)
        case Decimal() if kind in WHOLE and value.is_finite() and value == value.to_integral_value():
            return int(value)
    return value


def plain(value: object) -> object:
    """A value as JSON has it; what JSON has no word for is a text, which the contract's rules check."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return simplejson.RawJSON(f"{value:f}") if value.is_finite() else str(value)
        case datetime():
            # Without a zone it is the property that says which one is meant.
            return value.isoformat() if value.tzinfo is None else value.astimezone(UTC).isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return write_span(value)
        case bytes() | bytearray() | memoryview():
            return "\\x" + bytes(value).hex()
        case UUID():
            return str(value)
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    return str(value)


def write_text(value: object) -> str:
    """A written value as the text that a property is read from."""
    if isinstance(value, simplejson.RawJSON):
        return str(value.encoded_json)
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else simplejson.dumps(value)


def write_span(value: timedelta) -> str:
    """A length of time as ISO 8601 has it."""
    seconds = value / timedelta(seconds=1)
    return f"PT{seconds:.6f}".rstrip("0").rstrip(".") + "S"
