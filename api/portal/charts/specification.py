"""What charts show, as Vega-Lite. Pure.

Axes and text are drawn in the colour of the page's text, marks in one that is told apart in light, dark and print.
"""

from __future__ import annotations

from typing import Any

from api.portal.figures import Figures

Specification = dict[str, Any]
MARK = "#4477aa"  # of a palette that colour-blind readers tell apart; 4.5:1 on white, 4.3:1 on near black
TEXT = "currentColor"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
PANEL_WIDTH, PANEL_GAP = 150, 14  # of small multiples: the least of a plot, and what lies between two
LEGEND_BESIDE = 400  # from this width on a legend has room beside the plot
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    # Whoever looks has fonts of their own, which may be wider than those that are measured.
    "padding": {"left": 5, "top": 5, "right": 16, "bottom": 5},
    "axis": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "domainColor": TEXT,
        "tickColor": TEXT,
        "gridColor": TEXT,
        "gridOpacity": 0.15,
        "domainOpacity": 0.4,
        "tickOpacity": 0.4,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 140,
    },
    "axisY": {"titlePadding": 14},
    "legend": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "header": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelFontWeight": "bold",
        "labelLimit": 180,
        "labelPadding": 4,
    },
    "mark": {"color": MARK},
}


def chart_of_profile(name: str, figures: Figures) -> Specification | None:
    """The distribution of a property: intervals as a histogram, frequent values as bars; None without either."""
    parts = figures.parts
    if not parts:
        return None
    if not figures.is_histogram:
        rows = [{"value": show_value(part["value"]), "records": part["records"]} for part in parts]
        return frame(
            f"The most frequent values of {name}",
            rows,
            "bar",
            {
                "y": {"field": "value", "type": "nominal", "sort": None, "title": None},
                "x": {"field": "records", "type": "quantitative", "title": "records", "axis": {"tickCount": 4}},
            },
            height={"step": 22},
        )
    is_time = isinstance(parts[0]["from"], str)
    rows = [{"from": part["from"], "to": part["to"], "records": part["records"]} for part in parts]
    kind: dict[str, Any] = {"type": "temporal", "scale": {"type": "utc"}} if is_time else {"type": "quantitative"}
    axis = {"tickCount": 5, "labelOverlap": True}
    return frame(
        f"How the values of {name} are distributed",
        rows,
        {"type": "bar", "binSpacing": 1},
        {
            "x": {"field": "from", "bin": {"binned": True}, "title": name, "axis": axis, **kind},
            "x2": {"field": "to"},
            "y": {"field": "records", "type": "quantitative", "title": "records", "axis": {"tickCount": 4}},
        },
        height=200,
    )


def frame(
    description: str, rows: list[dict[str, Any]], mark: Any, encoding: dict[str, Any], *, height: Any
) -> Specification:
    """A whole specification; its width is set where it is drawn."""
    return {
        "$schema": SCHEMA,
        "description": description,
        "data": {"values": rows},
        "mark": mark,
        "encoding": encoding,
        "height": height,
        "config": CONFIG,
    }


def fit_width(specification: Specification, width: int) -> Specification:
    """The specification for plots of a width together: as many panels in a row as find room, or one plot."""
    facet = specification.get("encoding", {}).get("facet")
    if width < LEGEND_BESIDE and "config" in specification:
        config = specification["config"]
        legend = config["legend"] | {"orient": "bottom", "columns": 2}
        specification = specification | {"config": config | {"legend": legend}}
    if facet is None:
        return specification | {"width": width}
    columns = max((width + PANEL_GAP) // (PANEL_WIDTH + PANEL_GAP), 1)
    plot = (width + PANEL_GAP) // columns - PANEL_GAP
    encoding = specification["encoding"] | {"facet": facet | {"columns": columns}}
    return specification | {"encoding": encoding, "width": plot}


def show_value(value: Any) -> str:
    """A value as a label."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "(empty)" if value == "" else str(value)
