"""Small multiples: one panel for each value of a group, all with the same scales. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.portal.charts.marks import PALETTE, Values, draw_bars, draw_histogram, draw_line, is_bin, is_time
from api.portal.charts.specification import PANEL_GAP, Specification

PANELS_MAXIMUM = 12
PANEL_HEIGHT = 110
STEP_HEIGHT = 18  # of a bar


def place_groups(groups: Sequence[str], sizes: Sequence[int]) -> dict[str, int]:
    """Which group lies along the axis (x), makes the panels (p) and, of three, the colours (z).

    Time and bins have an order that wants an axis; otherwise the first group has it. The last of the others makes the
    panels, unless the remaining one has more values than can be told apart by colour. `sizes` are numbers of values.
    """
    axis = next((index for index, group in enumerate(groups) if is_time(group) or is_bin(group)), 0)
    others = [index for index in range(len(groups)) if index != axis]
    if len(others) == 1:
        return {"x": axis, "p": others[0]}
    colours, panels = others
    if sizes[colours] > len(PALETTE) >= sizes[panels]:
        colours, panels = panels, colours
    return {"x": axis, "p": panels, "z": colours}


def draw_panels(title: str, values: Values, fields: dict[str, str], axis: str) -> Specification:
    """A panel for each value of the last group; how many stand in a row is decided where they are drawn."""
    first, second, measure = fields["x"], fields.get("z"), fields["y"]
    height: Any = PANEL_HEIGHT
    if is_time(axis):
        drawn = draw_line(title, values, first, second, measure, axis)
    elif is_bin(axis):
        drawn = draw_histogram(title, values, first, second, measure, axis)
    else:
        drawn = draw_bars(title, values, first, second, measure)
        height = {"step": STEP_HEIGHT}
    for channel in ("x", "y"):
        if drawn["encoding"][channel].get("type") in {"quantitative", "temporal"}:
            drawn["encoding"][channel]["axis"] = {"tickCount": 3, "labelOverlap": True}
    panels = {"field": "p", "type": "nominal", "sort": None, "title": fields["p"], "columns": 1, "spacing": PANEL_GAP}
    return drawn | {"encoding": drawn["encoding"] | {"facet": panels}, "height": height}
