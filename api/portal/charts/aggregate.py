"""A chart of an aggregate: which one fits its groups, and its specification. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.portal.charts.specification import Specification, frame, show_value
from catalog.types.property_type import BUCKETS

ROWS_MAXIMUM = 1000  # more marks than that are no picture
BARS_MAXIMUM = 40
GROUPS_MAXIMUM = 60  # along an axis: more are no picture, and take long to draw
SERIES_MAXIMUM = 24
ADDED = ("count", "sum")  # measures of parts that add up to that of the whole
PALETTE = ["#4477aa", "#cc6677", "#228833", "#aa8800", "#8e6bb4", "#2a9d9d", "#995533", "#777777"]


def default_view(groups: Sequence[str]) -> str:
    """The view that shows groups best: a line over time, a histogram of bins, bars, squares of two groups."""
    if not groups:
        return "table"
    if len(groups) >= 2 and not is_time(groups[0]):
        return "heat"
    if is_time(groups[0]):
        return "line"
    return "histogram" if groups[0].startswith("bin(") else "bar"


def is_time(group: str) -> bool:
    """Whether a group is a bucket of time."""
    return group.partition("(")[0] in BUCKETS and group.endswith(")")


def chart_of_groups(
    view: str, groups: Sequence[str], names: Sequence[str], measure: str, rows: Sequence[dict[str, Any]]
) -> Specification | None:
    """The chart of a measure by one or two groups; None where there is nothing to be drawn.

    `names` are what the groups are called in the rows.
    """
    drawn = [row for row in rows[:ROWS_MAXIMUM] if number_of(row.get(measure)) is not None]
    if not drawn or not names or view == "table":
        return None
    first, second = names[0], names[1] if len(names) > 1 else None
    values: list[dict[str, Any]] = []
    for row in drawn:
        value: dict[str, Any] = {"x": label_of(row[first]), "y": number_of(row[measure])}
        if second:
            value["z"] = label_of(row[second])
        values.append(value)
    if len({value["x"] for value in values}) > GROUPS_MAXIMUM and view != "line" and view != "histogram":
        values = values[:BARS_MAXIMUM] if not second else []
    if len({value.get("z") for value in values}) > SERIES_MAXIMUM:
        values = []
    if not values:
        return None
    title = f"{measure} by {' and '.join(filter(None, (first, second)))}"
    if view == "line":
        return draw_line(title, values, first, second, measure, groups[0])
    if view == "histogram":
        return draw_histogram(title, values, first, measure, groups[0])
    if view == "heat" and second:
        return draw_heat(title, values, (first, second), measure)
    return draw_bars(title, values[:BARS_MAXIMUM], first, second, measure)


def draw_line(
    title: str, values: list[dict[str, Any]], first: str, second: str | None, measure: str, group: str
) -> Specification:
    """A line over time, one for each value of a second group."""
    time: dict[str, Any] = {"type": "temporal", "scale": {"type": "utc"}} if is_time(group) else {"type": "ordinal"}
    encoding: dict[str, Any] = {
        "x": {"field": "x", "title": first, **time, "axis": {"tickCount": 6, "labelOverlap": True}},
        "y": quantity(measure),
    }
    if second:
        encoding["color"] = colours(second)
        encoding["strokeDash"] = {"field": "z", "type": "nominal", "title": second}
    return frame(title, values, {"type": "line", "point": len(values) <= 60}, encoding, height=260)


def draw_histogram(title: str, values: list[dict[str, Any]], first: str, measure: str, group: str) -> Specification:
    """Bars between the edges of bins."""
    width = float(group.rpartition(",")[2].rstrip(")")) if group.startswith("bin(") else 1.0
    bins = [
        {"x": float(value["x"]), "x2": float(value["x"]) + width, "y": value["y"]}
        for value in values
        if number_of(value["x"]) is not None
    ]
    encoding = {
        "x": {
            "field": "x", "type": "quantitative", "bin": {"binned": True}, "title": first,
            "axis": {"tickCount": 6, "labelOverlap": True},
        },
        "x2": {"field": "x2"},
        "y": quantity(measure),
    }  # fmt: skip
    return frame(title, bins, {"type": "bar", "binSpacing": 1}, encoding, height=260)


def draw_heat(title: str, values: list[dict[str, Any]], names: tuple[str, str], measure: str) -> Specification:
    """A square for each pair of two groups."""
    scale = {"scheme": "viridis"}
    encoding = {
        "x": {"field": "z", "type": "ordinal", "title": names[1], "axis": {"labelOverlap": True, "labelAngle": 0}},
        "y": {"field": "x", "type": "ordinal", "title": names[0]},
        "color": {"field": "y", "type": "quantitative", "title": measure, "scale": scale},
    }
    return frame(title, values, "rect", encoding, height={"step": 18})


def draw_bars(
    title: str, values: list[dict[str, Any]], first: str, second: str | None, measure: str
) -> Specification:
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
        return float(value)
    except (TypeError, ValueError):
        return None
