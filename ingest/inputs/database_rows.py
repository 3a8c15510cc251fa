"""Rows of a database, as its driver gives them -> NDJSON. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import simplejson


def write_rows(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """One JSON object in a line for each row."""
    return "".join(f"{write_row(names, row)}\n" for row in rows).encode("utf-8", "backslashreplace")


def write_row(names: Sequence[str], row: Sequence[Any]) -> str:
    """One row as JSON: numbers with all their digits, null apart from the empty text."""
    return simplejson.dumps(
        {name: plain(value) for name, value in zip(names, row, strict=True)},
        ensure_ascii=False,
        separators=(",", ":"),
        use_decimal=False,
        ignore_nan=False,
    )


def plain(value: Any) -> Any:
    """A value as JSON has it; what JSON has no word for is a text, which the contract's rules judge."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return simplejson.RawJSON(f"{value:f}") if value.is_finite() else str(value)
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
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


def write_span(value: timedelta) -> str:
    """A length of time as ISO 8601 has it."""
    seconds = value / timedelta(seconds=1)
    return f"PT{seconds:.6f}".rstrip("0").rstrip(".") + "S"
