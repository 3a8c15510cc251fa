"""Marks of charts of groups: lines, histograms, squares, bars. Pure.

In the rows of a chart `x` and `z` are groups, `p` is the group that makes panels, `y` is the measure.
"""

from __future__ import annotations

import math
from typing import Any

from api.portal.charts.specification import Specification, frame, show_value
from catalog.types.property_type import BUCKETS

PALETTE = ["#4477aa", "#cc6677", "#228833", "#aa8800", "#8e6bb4", "#2a9d9d", "#995533", "#777777"]
# Lines are told apart without colour too.
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [1, 3], [10, 4], [6, 2, 1, 2, 1, 2]]
ADDED = ("count", "sum")  # measures of parts that add up to that of the whole
POINTS_MAXIMUM = 60  # of a line: more of them hide it
Values = list[dict[str, Any]]


def is_time(group: str) -> bool:
    """Whether a group is a bucket of time."""
    return group.partition("(")[0] in BUCKETS and group.endswith(")")


def is_bin(group: str) -> bool:
    """Whether a group is bins of equal width."""
    return group.startswith("bin(")


def width_of(group: str) -> float:
    """The width of bins; 1 for what has none."""
    return float(group.rpartition(",")[2].rstrip(")")) if is_bin(group) else 1.0


def draw_line(title: str, values: Values, first: str, second: str | None, measure: str, group: str) -> Specification:
    """A line over time, one for each value of a second group."""
    time: dict[str, Any] = {"type": "temporal", "scale": {"type": "utc"}} if is_time(group) else {"type": "ordinal"}
    encoding: dict[str, Any] = {
        "x": {"field": "x", "title": first, **time, "axis": {"tickCount": 6, "labelOverlap": True}},
        "y": quantity(measure),
    }
    if second:
        encoding["color"] = colours(second)
        encoding["strokeDash"] = {"field": "z", "type": "nominal", "title": second, "scale": {"range": DASHES}}
    return frame(title, values, {"type": "line", "point": len(values) <= POINTS_MAXIMUM}, encoding, height=260)


def draw_histogram(
    title: str, values: Values, first: str, second: str | None, measure: str, group: str
) -> Specification:
    """Bars between the edges of bins, one upon another for each value of a second group."""
    width = width_of(group)
    bins = [
        value | {"x": float(value["x"]), "x2": float(value["x"]) + width}
        for value in values
        if number_of(value["x"]) is not None
    ]
    encoding: dict[str, Any] = {
        "x": {
            "field": "x", "type": "quantitative", "bin": {"binned": True}, "title": first,
            "axis": {"tickCount": 6, "labelOverlap": True},
        },
        "x2": {"field": "x2"},
        "y": quantity(measure),
    }  # fmt: skip
    if second:
        encoding["color"] = colours(second)
    return frame(title, bins, {"type": "bar", "binSpacing": 1}, encoding, height=260)


def draw_heat(title: str, values: Values, names: tuple[str, str], measure: str) -> Specification:
    """A square for each pair of two groups."""
    scale = {"scheme": "viridis"}
    encoding = {
        "x": {"field": "z", "type": "ordinal", "title": names[1], "axis": {"labelOverlap": True, "labelAngle": 0}},
        "y": {"field": "x", "type": "ordinal", "title": names[0]},
        "color": {"field": "y", "type": "quantitative", "title": measure, "scale": scale},
    }
    return frame(title, values, "rect", encoding, height={"step": 18})


def draw_bars(title: str, values: Values, first: str, second: str | None, measure: str) -> Specification:
    """A bar for each value of a group, in the order of the answer."""
    encoding: dict[str, Any] = {
        "y": {"field": "x", "type": "nominal", "sort": None, "title": first},
        "x": quantity(measure) | {"axis": {"tickCount": 5}},
    }
    if second:
        encoding["color"] = colours(second)
        if not measure.startswith(ADDED):
            # Averages do not add up: bars side by side.
            encoding["x"]["stack"] = None
            encoding["yOffset"] = {"field": "z"}
    return frame(title, values, "bar", encoding, height={"step": 22})


def quantity(measure: str) -> dict[str, Any]:
    """An axis of a measure, which begins at zero."""
    return {"field": "y", "type": "quantitative", "title": measure, "axis": {"tickCount": 5}}


def colours(name: str) -> dict[str, Any]:
    """A colour for each value of a group."""
    return {"field": "z", "type": "nominal", "title": name, "scale": {"range": PALETTE}}


def label_of(value: Any) -> Any:
    """A group's value as a label; null is one too."""
    return "(null)" if value is None else value if isinstance(value, int | float) else show_value(value)


def number_of(value: Any) -> float | None:
    """A measure as a number, for the picture alone: exact decimals are text."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
