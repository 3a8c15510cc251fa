"""Charts: what they are drawn of, and what a drawing may hold."""

from __future__ import annotations

import asyncio
import re

import orjson
import pytest

from api.portal.charts.aggregate import chart_of_groups, default_view
from api.portal.charts.drawing import DRAWER, clean_svg, draw_chart

HOSTILE = '</text><script>alert(1)</script><a href="javascript:x">'


@pytest.mark.parametrize(
    ("view", "groups", "names"),
    [
        ("bar", ["kind"], ["kind"]),
        ("bar", ["kind", "origin"], ["kind", "origin"]),
        ("line", ["month(day)"], ["month_day"]),
        ("line", ["month(day)", "kind"], ["month_day", "kind"]),
        ("histogram", ["bin(size,10)"], ["bin(size,10)"]),
        ("heat", ["kind", "origin"], ["kind", "origin"]),
    ],
)
def test_every_kind_of_chart_is_drawn_and_holds_nothing_that_acts(
    view: str, groups: list[str], names: list[str]
) -> None:
    values = {
        "kind": ["a", HOSTILE, None],
        "origin": ["x", "y", "z"],
        "month_day": ["2026-01-01", "2026-02-01", "2026-03-01"],
        "bin(size,10)": [-10, 0, 10],
    }
    rows = [{name: values[name][index] for name in names} | {"sum_price": f"{index}.50"} for index in range(3)]
    specification = chart_of_groups(view, groups, names, "sum_price", rows)
    assert specification is not None
    chart = asyncio.run(draw_chart(specification))
    assert chart is not None
    for svg in (chart.wide, chart.narrow):
        elements = set(re.findall(r"<([a-zA-Z]+)", svg))
        assert elements <= {"svg", "g", "path", "rect", "line", "circle", "text", "tspan", "title", "defs"} | {
            "clipPath", "linearGradient", "stop"
        }  # fmt: skip
        assert not re.search(r"\s(style|href|on\w+)=", svg)
        assert "currentColor" in svg
        referred = set(re.findall(r"url\(#([^)]+)\)", svg))
        assert referred <= set(re.findall(r'\sid="([^"]+)"', svg))


@pytest.mark.parametrize("sign", ["\x01", "\x1b", "\ufffe", "\uffff", "\u202e", "\ud800"])
def test_a_text_that_no_drawing_can_hold_is_drawn_all_the_same(sign: str) -> None:
    rows = [{"kind": f"a{sign}b", "count": 1}, {"kind": "c", "count": 2}]
    specification = chart_of_groups("bar", ["kind"], ["kind"], "count", rows)
    assert specification is not None
    chart = asyncio.run(draw_chart(specification))
    assert chart is not None
    assert sign not in chart.wide


def test_a_renderer_that_breaks_costs_one_chart_alone() -> None:
    async def run() -> None:
        # What the renderer ends at, past the check of texts.
        broken = {"description": "", "data": {"values": [{"x": "a\x01b", "y": 1}]}, "mark": "bar"}
        broken["encoding"] = {"x": {"field": "x", "type": "nominal"}, "y": {"field": "y", "type": "quantitative"}}
        assert await DRAWER.draw(orjson.dumps(broken)) is None
        specification = chart_of_groups("bar", ["kind"], ["kind"], "count", [{"kind": "a", "count": 1}])
        assert specification is not None
        assert await draw_chart(specification) is not None

    asyncio.run(run())


def test_more_groups_than_a_picture_holds_are_not_drawn() -> None:
    rows = [{"a": f"{n}", "b": f"{n}", "count": n} for n in range(1000)]
    assert chart_of_groups("heat", ["a", "b"], ["a", "b"], "count", rows) is None
    bars = chart_of_groups("bar", ["a"], ["a"], "count", rows)
    assert bars is not None
    assert len(bars["data"]["values"]) == 40


def test_what_is_not_listed_is_taken_out_of_a_drawing() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" onload="x()" width="1"><script>x()</script>'
        '<rect style="fill:red" fill="url(http://evil.example/)" width="1"/><image href="http://evil.example/"/></svg>'
    )
    cleaned = clean_svg(svg, "p")
    assert "evil" not in cleaned
    assert "script" not in cleaned
    assert "onload" not in cleaned
    assert "style" not in cleaned


def test_groups_have_a_view_that_fits() -> None:
    assert default_view([]) == "table"
    assert default_view(["kind"]) == "bar"
    assert default_view(["month(day)"]) == "line"
    assert default_view(["month(day)", "kind"]) == "line"
    assert default_view(["bin(size,10)"]) == "histogram"
    assert default_view(["kind", "origin"]) == "heat"
