"""A chart of an aggregate: which one fits its groups, and its specification. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.portal.charts.marks import (
    ADDED,
    Values,
    draw_bars,
    draw_heat,
    draw_histogram,
    draw_line,
    is_bin,
    is_time,
    label_of,
    number_of,
)
from api.portal.charts.panels import PANELS_MAXIMUM, draw_panels, place_groups
from api.portal.charts.series import Series, choose_series
from api.portal.charts.specification import Specification

ROWS_MAXIMUM = 1000  # more marks than that are no picture
BARS_MAXIMUM = 40
GROUPS_MAXIMUM = 60  # along an axis: more are no picture, and take long to draw
COLUMNS_MAXIMUM = 24  # of squares
GROUPS_DRAWN = 3  # of a question: an axis, a colour, panels


@dataclass(frozen=True)
class GroupChart:
    """The chart of an aggregate, and how its rows are made of those of the answer."""

    specification: Specification
    fields: dict[str, str]  # x, z, p and y -> what they are called in the answer
    first_rows: int | None = None  # only so many rows of the answer are drawn
    left_out: tuple[str, ...] = ()  # values of the group of the panels for which there is no room
    series: Series | None = None  # where there are more of them than colours


def default_view(groups: Sequence[str]) -> str:
    """The view that shows groups best: a line over time, a histogram of bins, bars, squares of two groups, panels."""
    if not groups or len(groups) > GROUPS_DRAWN:
        return "table"
    if len(groups) == GROUPS_DRAWN:
        return "multiples"
    if len(groups) == 2 and not is_time(groups[0]):
        return "heat"
    if is_time(groups[0]):
        return "line"
    return "histogram" if is_bin(groups[0]) else "bar"


def fitting_views(groups: Sequence[str]) -> set[str]:
    """The views that these groups can have; those of two groups would draw several values at one place of three."""
    found = {"table"}
    if 2 <= len(groups) <= GROUPS_DRAWN:
        found.add("multiples")
    if 1 <= len(groups) <= 2:
        found |= (
            {"bar"} | ({"line"} if is_time(groups[0]) else set()) | ({"histogram"} if is_bin(groups[0]) else set())
        )
    if len(groups) == 2:
        found.add("heat")
    return found


def chart_of_groups(
    view: str, groups: Sequence[str], names: Sequence[str], measure: str, rows: Sequence[dict[str, Any]]
) -> GroupChart | None:
    """The chart of a measure by its groups; None where there is nothing to be drawn, or no room for it.

    `names` are what the groups are called in the rows.
    """
    if view == "table" or view not in fitting_views(groups):
        return None
    places = dict(zip("xz", range(len(groups)), strict=False))
    if view == "multiples":
        places = place_groups(groups, [len({row[name] for row in rows[:ROWS_MAXIMUM]}) for name in names])
    fields = {letter: names[index] for letter, index in places.items()} | {"y": measure}
    values: Values = [
        {letter: label_of(row[name]) for letter, name in fields.items() if letter != "y"}
        | {"y": number_of(row[measure])}
        for row in rows[:ROWS_MAXIMUM]
        if number_of(row.get(measure)) is not None
    ]
    first_rows: int | None = None
    left_out: tuple[str, ...] = ()
    if view == "multiples":
        panels = list(dict.fromkeys(value["p"] for value in values))
        left_out = tuple(str(panel) for panel in panels[PANELS_MAXIMUM:])
        values = [value for value in values if value["p"] in panels[:PANELS_MAXIMUM]]
    axis = groups[places["x"]]
    in_steps = view in {"bar", "heat"} or (view == "multiples" and not is_time(axis) and not is_bin(axis))
    is_plain = view == "bar" and "z" not in fields
    if in_steps and len({value["x"] for value in values}) > (BARS_MAXIMUM if is_plain else GROUPS_MAXIMUM):
        # The first bars say something alone; a part of a grid does not.
        first_rows = BARS_MAXIMUM if is_plain else 0
        values = values[:first_rows]
    series: Series | None = None
    if view == "heat" and len({value.get("z") for value in values}) > COLUMNS_MAXIMUM:
        return None
    if view != "heat" and "z" in fields:
        is_stacked = view != "line" and not is_time(axis) and measure.startswith(ADDED)
        series = choose_series(values, is_stacked=is_stacked)
        values = values if series is None else series.keep(values)
    if not values:
        return None
    drawn = draw(view, fields, values, axis)
    return GroupChart(drawn, fields, first_rows, left_out, series)


def draw(view: str, fields: dict[str, str], values: Values, axis: str) -> Specification:
    """The specification of a view; `axis` is the group along the axis as the question has it."""
    first, second, measure = fields["x"], fields.get("z"), fields["y"]
    title = f"{measure} by {' and '.join(name for letter, name in fields.items() if letter != 'y')}"
    if view == "multiples":
        return draw_panels(title, values, fields, axis)
    if view == "line":
        return draw_line(title, values, first, second, measure, axis)
    if view == "histogram":
        return draw_histogram(title, values, first, second, measure, axis)
    if view == "heat" and second:
        return draw_heat(title, values, (first, second), measure)
    return draw_bars(title, values, first, second, measure)
