"""Groups, measures and values of a question as people read them. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from api.portal.charts.marks import is_time
from api.portal.charts.specification import show_value
from api.portal.figures import show_bound, show_number

BIN = re.compile(r"bin\((.+),([^,]+)\)")
MEASURES = {
    "avg": "mean {}",
    "median": "median {}",
    "p95": "95th percentile of {}",
    "sum": "sum of {}",
    "min": "least {}",
    "max": "greatest {}",
    "distinct": "distinct {}",
    "count": "count of {}",
}
DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
# How a bucket of time is written: for people, and so that its order is that of texts.
LONG = {"year": "%Y", "month": "%b %Y"}
SHORT = {"year": "%Y", "month": "%Y-%m", "quarter": "%Y-%m", "week": "%Y-%m-%d", "day": "%Y-%m-%d"}


def name_group(group: str) -> str:
    """`month of scheduled departure` for `month(scheduled_departure)`."""
    binned = BIN.fullmatch(group)
    if binned:
        return spaced(binned[1])
    if is_time(group):
        bucket, _, inner = group.partition("(")
        return f"{bucket} of {spaced(inner[:-1])}"
    return spaced(group)


def name_measure(measure: str) -> str:
    """`mean departure delay` for `avg:departure_delay`."""
    function, _, of = measure.partition(":")
    return MEASURES.get(function, function + " {}").format(spaced(of)) if of else function


def spaced(name: str) -> str:
    """A property's name without underscores."""
    return name.replace("_", " ")


def show_group(group: str, value: Any) -> str:
    """The value of a group in a table."""
    if value is None:
        return "no value"
    binned = BIN.fullmatch(group)
    if binned and DECIMAL.fullmatch(str(value)):
        return f"{show_number(number_in(value))} to {show_number(number_in(value) + float(binned[2]))}"
    moment = read_moment(value) if is_time(group) else None
    if moment is None:
        return show_value(value)
    bucket = group.partition("(")[0]
    if bucket == "quarter":
        return f"Q{(moment.month + 2) // 3} {moment.year}"
    return f"{moment:{LONG[bucket]}}" if bucket in LONG else show_bound(str(value))


def label_group(group: str, value: Any) -> Any:
    """The value of a group as a label of a chart, in whose order the labels stand."""
    moment = read_moment(value) if is_time(group) else None
    pattern = SHORT.get(group.partition("(")[0], "%Y-%m-%d %H:%M")
    return value if moment is None else f"{moment:{pattern}}"


def show_measure(value: Any) -> str:
    """A measure, shortened where it has many digits; the explorer has them all."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return show_value(value)
    if isinstance(value, int | float) or DECIMAL.fullmatch(str(value)):
        return show_number(number_in(value)).replace("-", "\N{MINUS SIGN}")
    return show_bound(value)


def number_in(value: Any) -> int | float:
    """A number, which may be written as text: whole where it has no fraction."""
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def read_moment(value: Any) -> datetime | None:
    """The moment that a text names."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
