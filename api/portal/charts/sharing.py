"""The same chart elsewhere: a specification that fetches the answer of the API itself. Pure."""

from __future__ import annotations

import json
from typing import Any

from api.portal.charts.aggregate import GroupChart
from api.portal.charts.panels import PANELS_MAXIMUM
from api.portal.charts.series import OTHERS, Series
from api.portal.charts.specification import Specification, fit_width

WIDTH = 560
LABEL = "{0} === null ? '(null)' : {0} === '' ? '(empty)' : isNumber({0}) ? {0} : toString({0})"
MEASURED = "isValid(datum.y) && isFinite(datum.y)"


def share_chart(chart: GroupChart, address: str) -> Specification:
    """The specification with the data's address in the place of the data.

    What the server does with an answer before it draws it, transforms do here: labels, numbers, the groups for which
    there is room.
    """
    encoding = chart.specification["encoding"]
    transform: list[dict[str, Any]] = [
        {"calculate": calculate(letter, name, encoding), "as": letter} for letter, name in chart.fields.items()
    ]
    transform.append({"filter": MEASURED})
    if chart.first_rows is not None:
        transform += [
            {"window": [{"op": "row_number", "as": "row"}]},
            {"filter": f"datum.row <= {chart.first_rows}"},
        ]
    values = chart.specification["data"]["values"]
    if "x2" in encoding:
        width = values[0]["x2"] - values[0]["x"]
        transform += [{"filter": "isFinite(datum.x)"}, {"calculate": f"datum.x + {width:g}", "as": "x2"}]
    if chart.left_out:
        panels = list(dict.fromkeys(value["p"] for value in values))[:PANELS_MAXIMUM]
        transform.append({"filter": {"field": "p", "oneOf": panels}})
    if chart.series is not None:
        transform.append(limit_series(chart.series))
    shared = {name: value for name, value in chart.specification.items() if name != "data"}
    data = {"url": address, "format": {"type": "json", "property": "data"}}
    found = {"$schema": shared.pop("$schema"), "description": shared.pop("description"), "data": data}
    return fit_width(found | {"transform": transform} | shared, WIDTH)


def limit_series(series: Series) -> dict[str, Any]:
    """What leaves the other series out, or draws them in one colour."""
    if not series.is_merged:
        return {"filter": {"field": "z", "oneOf": list(series.drawn)}}
    drawn = json.dumps(list(series.drawn), ensure_ascii=False)
    return {"calculate": f"indexof({drawn}, datum.z) < 0 ? '{OTHERS}' : datum.z", "as": "z"}


def calculate(letter: str, name: str, encoding: dict[str, Any]) -> str:
    """The expression of a column of the chart, from a column of the answer."""
    field = f"datum[{json.dumps(name)}]"
    if letter == "y":
        return f"toNumber({field})"
    channel = encoding.get(letter, {})
    if letter == "x" and channel.get("type") == "temporal":
        return f"toDate({field})"
    return f"toNumber({field})" if letter == "x" and "x2" in encoding else LABEL.format(field)
