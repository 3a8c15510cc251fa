"""Vega-Lite -> SVG, in a thread: drawing takes tens of milliseconds. Without the extra `charts` there is none."""

from __future__ import annotations

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from xml.etree import ElementTree

import orjson
from markupsafe import Markup

from api.portal.charts.specification import Specification

WIDE, NARROW = 560, 230  # of the plot, in pixels: a screen, and a telephone
KEPT_CHARTS = 500
SVG = "http://www.w3.org/2000/svg"
# What the drawings are made of; what else there may be is left out: scripts, styles, links, images.
ELEMENTS = frozenset(
    {
        *("svg", "g", "path", "rect", "line", "circle", "text", "tspan", "title"),
        *("defs", "clipPath", "linearGradient", "stop"),
    }
)
ATTRIBUTES = frozenset(
    {
        "width", "height", "viewBox", "transform", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "dx",
        "dy", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "opacity",
        "stroke-miterlimit", "font-family", "font-size", "font-weight", "font-style", "text-anchor", "id",
        "offset", "stop-color", "gradientUnits",
        "clip-path",
    }
)  # fmt: skip
LOCAL = "url(#"
EMPTY: Specification = {"description": "", "data": {"values": []}, "mark": "bar"}


@dataclass(frozen=True)
class Chart:
    """A chart that is drawn for screens of two widths."""

    description: str
    wide: Markup
    narrow: Markup


async def draw_chart(specification: Specification) -> Chart | None:
    """The chart; None where nothing can draw."""
    if not can_draw():
        return None
    text = orjson.dumps(specification, option=orjson.OPT_SORT_KEYS)
    return await asyncio.get_running_loop().run_in_executor(drawers(), draw, text)


@cache
def can_draw() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("vl_convert") is not None


@cache
def prepare_drawing() -> None:
    """Starts the renderer in its thread, once: the first drawing takes a second longer than others."""
    if can_draw():
        drawers().submit(draw, orjson.dumps(EMPTY))


@cache
def drawers() -> ThreadPoolExecutor:
    """One thread: charts are kept, and what waits here holds up no other request."""
    return ThreadPoolExecutor(1, "charts")


@lru_cache(KEPT_CHARTS)
def draw(text: bytes) -> Chart:
    """The chart of a specification."""
    import vl_convert

    specification: dict[str, Any] = orjson.loads(text)
    found = []
    for width in (WIDE, NARROW):
        svg = vl_convert.vegalite_to_svg(specification | {"width": width})
        found.append(clean_svg(svg, f"c{width}"))
    return Chart(specification["description"], *found)


def clean_svg(svg: str, prefix: str) -> Markup:
    """A drawing that holds lines, shapes and texts alone, and can stand in a page; `prefix` keeps its ids apart."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - of our own renderer, never from outside
    clean_element(root, prefix)
    root.set("xmlns", SVG)
    root.set("aria-hidden", "true")  # the figure around it says what it shows, and has a table
    root.set("focusable", "false")
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - of elements and attributes listed above


def clean_element(element: ElementTree.Element, prefix: str) -> None:
    """Takes out of an element what is not listed."""
    element.tag = element.tag.removeprefix(f"{{{SVG}}}")
    for name, value in list(element.attrib.items()):
        if name not in ATTRIBUTES or ("url(" in value and not value.startswith(LOCAL)):
            del element.attrib[name]
        elif name == "id":
            element.set(name, prefix + value)
        elif value.startswith(LOCAL):
            element.set(name, LOCAL + prefix + value.removeprefix(LOCAL))
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.removeprefix(f"{{{SVG}}}") not in ELEMENTS:
            element.remove(child)
        else:
            clean_element(child, prefix)
