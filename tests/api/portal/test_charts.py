"""Charts: what they are drawn of, and what a drawing may hold."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
import pytest
import vl_convert

from api.portal.charts import drawing
from api.portal.charts.aggregate import chart_of_groups, default_view, fitting_views
from api.portal.charts.drawing import DRAWER, DRAWING_SECONDS, EMPTY, Drawer, clean_svg, draw, draw_chart
from api.portal.charts.sharing import WIDTH, share_chart
from api.portal.charts.specification import fit_width
from api.portal.rendering import environment

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
        ("multiples", ["kind", "origin"], ["kind", "origin"]),
        ("multiples", ["kind", "month(day)", "origin"], ["kind", "month_day", "origin"]),
        ("multiples", ["origin", "bin(size,10)"], ["origin", "bin(size,10)"]),
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
    planned = chart_of_groups(view, groups, names, "sum_price", rows)
    assert planned is not None
    chart = asyncio.run(draw_chart(planned.specification))
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
    planned = chart_of_groups("bar", ["kind"], ["kind"], "count", rows)
    assert planned is not None
    chart = asyncio.run(draw_chart(planned.specification))
    assert chart is not None
    assert sign not in chart.wide


@pytest.mark.slow
def test_a_renderer_that_breaks_costs_one_chart_alone() -> None:
    async def run() -> None:
        # What the renderer ends at, past the check of texts.
        broken = {"description": "", "data": {"values": [{"x": "a\x01b", "y": 1}]}, "mark": "bar"}
        broken["encoding"] = {"x": {"field": "x", "type": "nominal"}, "y": {"field": "y", "type": "quantitative"}}
        assert await DRAWER.draw(orjson.dumps(broken)) is None
        planned = chart_of_groups("bar", ["kind"], ["kind"], "count", [{"kind": "a", "count": 1}])
        assert planned is not None
        assert await draw_chart(planned.specification) is not None

    asyncio.run(run())


@pytest.mark.slow
def test_a_drawing_that_works_for_too_long_ends_and_costs_one_chart_alone() -> None:
    endless = {"description": "", "data": {"sequence": {"start": 0, "stop": 3_000_000}}, "mark": "point"}
    endless["encoding"] = {"x": {"field": "data", "type": "quantitative"}}

    async def run() -> None:
        drawer = Drawer(1, drawing_seconds=0.3)
        try:
            assert await drawer.draw(orjson.dumps(endless)) is None
            drawer.drawing_seconds = DRAWING_SECONDS
            assert await drawer.draw(orjson.dumps(EMPTY)) is not None
        finally:
            drawer.close()

    asyncio.run(run())


def test_a_page_that_waits_no_longer_leaves_the_process_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        drawer = Drawer(1)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(drawing, "WAITING_SECONDS", 0.001)
                assert await drawer.draw(orjson.dumps(EMPTY)) is None
            assert drawer.pool is not None
            processes = set(drawer.pool._processes)
            assert await drawer.draw(orjson.dumps(EMPTY)) is not None
            assert set(drawer.pool._processes) == processes
        finally:
            drawer.close()

    asyncio.run(run())


@pytest.mark.slow
def test_several_processes_draw_the_same_as_one() -> None:
    texts = [
        orjson.dumps(planned.specification)
        for n in range(6)
        if (planned := chart_of_groups("bar", ["kind"], ["kind"], "count", [{"kind": f"k{n}", "count": n + 1}]))
    ]

    async def run() -> None:
        drawer = Drawer(2)
        try:
            together = await asyncio.gather(*map(drawer.draw, texts))
            assert together == [draw(text) for text in texts]
            assert drawer.pool is not None
            assert len(drawer.pool._processes) == 2
        finally:
            drawer.close()
        assert drawer.waiting == 0

    asyncio.run(run())


@pytest.mark.slow
def test_more_groups_than_a_picture_holds_are_not_drawn() -> None:
    rows = [{"a": f"{n}", "b": f"{n}", "count": n} for n in range(1000)]
    assert chart_of_groups("heat", ["a", "b"], ["a", "b"], "count", rows) is None
    bars = chart_of_groups("bar", ["a"], ["a"], "count", rows)
    assert bars is not None
    assert len(bars.specification["data"]["values"]) == 40


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
    assert default_view(["month(day)", "kind", "origin"]) == "multiples"
    assert default_view(["month(day)", "kind", "origin", "size"]) == "table"
    assert fitting_views(["kind", "origin", "size"]) == {"table", "multiples"}
    assert "heat" not in fitting_views(["kind"])


@pytest.mark.slow
def test_more_panels_than_there_is_room_for_are_named() -> None:
    rows = [{"kind": f"k{n}", "origin": origin, "count": n} for n in range(15) for origin in ("x", "y")]
    planned = chart_of_groups("multiples", ["origin", "kind"], ["origin", "kind"], "count", rows)
    assert planned is not None
    assert planned.left_out == ("k12", "k13", "k14")
    values = planned.specification["data"]["values"]
    assert (planned.fields, len(values)) == ({"x": "origin", "p": "kind", "y": "count"}, 24)
    # Colours that cannot be told apart become panels.
    three = [row | {"size": size} for row in rows for size in (1, 2)]
    placed = chart_of_groups("multiples", ["size", "kind", "origin"], ["size", "kind", "origin"], "count", three)
    assert placed is not None
    assert placed.fields == {"x": "size", "p": "kind", "z": "origin", "y": "count"}


def test_panels_wrap_into_one_column_where_the_screen_is_narrow() -> None:
    rows = [{"kind": kind, "origin": origin, "count": 1} for kind in "abc" for origin in "xyz"]
    planned = chart_of_groups("multiples", ["kind", "origin"], ["kind", "origin"], "count", rows)
    assert planned is not None
    wide, narrow = (fit_width(planned.specification, width) for width in (560, 230))
    assert (wide["encoding"]["facet"]["columns"], narrow["encoding"]["facet"]["columns"]) == (3, 1)
    chart = asyncio.run(draw_chart(planned.specification))
    assert chart is not None
    width = re.search(r'width="([\d.]+)"', chart.narrow)
    assert width is not None
    assert float(width[1]) < 320


SHARED = [
    (
        "bar",
        ["kind"],
        [{"kind": kind, "sum_price": f"{n}.5"} for n, kind in enumerate(["b", "", None, True, 'q"\\'])],
    ),
    ("bar", ["kind"], [{"kind": f"k{n}", "sum_price": n} for n in range(70)]),
    ("line", ["month(day)"], [{"month_day": f"2026-0{n}-01", "sum_price": n or None} for n in range(1, 8)]),
    ("histogram", ["bin(size,10)"], [{"bin(size,10)": n, "sum_price": 3} for n in (-10, 0, 20)]),
    ("heat", ["kind", "origin"], [{"kind": k, "origin": o, "sum_price": "1"} for k in "ab" for o in "xy"]),
    (
        "multiples",
        ["month(day)", "kind", "origin"],
        [
            {"month_day": f"2026-0{m}-01", "kind": k, "origin": f"o{n}", "sum_price": m + n}
            for m in range(1, 5)
            for k in "ab"
            for n in range(14)
        ],
    ),
]


@pytest.mark.sampled
@pytest.mark.parametrize(("view", "groups", "rows"), SHARED)
def test_a_shared_chart_draws_the_same_of_the_answer_itself(
    view: str, groups: list[str], rows: list[dict[str, Any]]
) -> None:
    planned = chart_of_groups(view, groups, list(rows[0])[:-1], "sum_price", rows)
    assert planned is not None
    shared = share_chart(planned, "https://data.example/answer")
    assert shared["data"] == {"url": "https://data.example/answer", "format": {"type": "json", "property": "data"}}
    vl_convert.vegalite_to_vega(shared)
    drawn = vl_convert.vegalite_to_svg(fit_width(planned.specification, WIDTH))
    again = vl_convert.vegalite_to_svg(shared | {"data": {"values": rows}})
    assert unnumbered(again) == unnumbered(drawn)


def unnumbered(svg: str) -> str:
    """A drawing without the numbers that the renderer gives to gradients and clips, one after another."""
    return re.sub(r"(gradient_|clip)[0-9]+", r"\1", svg)


SERIES = [
    {"month_day": f"2026-0{month}-01", "kind": f"k{n:02d}", "count": 100 - n} for month in (1, 2) for n in range(16)
]


def test_a_line_chart_has_no_more_series_than_colours_and_names_the_others() -> None:
    planned = chart_of_groups("line", ["month(day)", "kind"], ["month_day", "kind"], "count", SERIES)
    assert planned is not None
    assert planned.series is not None
    assert planned.series.others == tuple(f"k{n:02d}" for n in range(8, 16))
    drawn = {value["z"] for value in planned.specification["data"]["values"]}
    assert drawn == {f"k{n:02d}" for n in range(8)}
    few = chart_of_groups("line", ["month(day)", "kind"], ["month_day", "kind"], "count", SERIES[:8])
    assert few is not None
    assert few.series is None


def test_stacked_bars_keep_their_whole_when_series_share_a_colour() -> None:
    rows = [{"size": size, "kind": f"k{n:02d}", "count": n + 1} for size in ("s", "m") for n in range(12)]
    planned = chart_of_groups("bar", ["size", "kind"], ["size", "kind"], "count", rows)
    assert planned is not None
    values = planned.specification["data"]["values"]
    assert sum(value["y"] for value in values) == sum(row["count"] for row in rows)
    assert {value["z"] for value in values} == {"(others)"} | {f"k{n:02d}" for n in range(5, 12)}
    means = [{"size": row["size"], "kind": row["kind"], "avg_x": row["count"]} for row in rows]
    beside = chart_of_groups("bar", ["size", "kind"], ["size", "kind"], "avg_x", means)
    assert beside is not None
    assert {value["z"] for value in beside.specification["data"]["values"]} == {f"k{n:02d}" for n in range(4, 12)}


def test_a_page_says_which_series_have_a_colour() -> None:
    parts: Any = environment().get_template("parts.html").module
    lines = chart_of_groups("line", ["month(day)", "kind"], ["month_day", "kind"], "count", SERIES)
    said = str(parts.series_note(lines))
    assert "The 8 with the largest count on average have one; left out: k08, k09" in said
    rows = [{"size": size, "kind": f"k{n:02d}", "count": n + 1} for size in ("s", "m") for n in range(12)]
    bars = chart_of_groups("bar", ["size", "kind"], ["size", "kind"], "count", rows)
    assert "The 7 with the largest count have one; drawn together as (others): k00" in str(parts.series_note(bars))


@pytest.mark.parametrize(("view", "measure"), [("line", "count"), ("bar", "count"), ("bar", "avg_x")])
def test_a_shared_chart_limits_its_series_in_the_same_way(view: str, measure: str) -> None:
    rows = [{"month_day": row["month_day"], "kind": row["kind"], measure: row["count"]} for row in SERIES]
    planned = chart_of_groups(
        view, ["month(day)" if view == "line" else "day", "kind"], list(rows[0])[:-1], measure, rows
    )
    assert planned is not None
    shared = share_chart(planned, "http://127.0.0.1/data") | {"data": {"values": rows}}
    svgs = [vl_convert.vegalite_to_svg(each) for each in (fit_width(planned.specification, WIDTH), shared)]
    assert len({len(re.findall('aria-roledescription="(?:bar|line mark)"', svg)) for svg in svgs}) == 1
    assert len({svg.count('role="graphics-symbol"') for svg in svgs}) == 1
