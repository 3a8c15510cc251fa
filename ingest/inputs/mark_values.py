"""Watermark values: written as text, and moved back by a lag. Pure."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

LATEST_ZONE = timedelta(hours=12)  # the last clock on earth is so far behind UTC


def step_back(value: object, lag: float) -> Any:
    """The value with the lag taken off: seconds of a moment, a number of a number."""
    try:
        match value:
            case datetime():
                return value - timedelta(seconds=lag)
            case date():
                return (datetime.combine(value, time()) - timedelta(seconds=lag)).date()
            case bool() | str():
                return value
            case int():
                return value - math.ceil(lag)
            case Decimal():
                return value - Decimal(str(lag))
            case float():
                return value - lag
    except OverflowError:
        return value
    return value


def write_value(value: object, written: str | None = None) -> str:
    """A value as text: moments in UTC, numbers with all their digits."""
    if isinstance(value, date) and written in {"epoch", "epochMillis"}:
        timestamp = value if isinstance(value, datetime) else datetime.combine(value, time())
        timestamp = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
        unit = timedelta(seconds=1) if written == "epoch" else timedelta(milliseconds=1)
        return str((timestamp - datetime(1970, 1, 1, tzinfo=UTC)) // unit)
    if isinstance(value, datetime):
        plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        if written == "date":
            # The source's day may still be the one before: a day of UTC would leave out the rest of it.
            return step_back(plain, LATEST_ZONE.total_seconds()).date().isoformat()  # type: ignore[no-any-return]
        return plain.isoformat() + ("Z" if value.tzinfo else "")
    if isinstance(value, date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
