"""Vega-Lite -> SVG, in processes of their own. Without the extra `charts` there is none."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any
from xml.etree import ElementTree

import orjson
from markupsafe import Markup

from api.portal.charts.light_svg import lighten
from api.portal.charts.specification import Specification, fit_width
from runtime.plain_text import map_texts, plain
from runtime.worker_process import start_worker_process

WIDE, NARROW = 560, 230  # of the plot, in pixels: a screen, and a telephone
KEPT_CHARTS = 200
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PROCESSES = 2 if CORES >= 4 else 1  # each of 100 MB; fewer cores have other work meanwhile
WAITING_MAXIMUM = 8  # charts: whoever comes then gets the table alone
WAITING_SECONDS = 10.0  # for a chart, its turn included: then the page has the table alone
DRAWING_SECONDS = 10.0  # of processor time, for both widths
BUSY_FACTOR = 6  # how many times as long it may take by the clock, on a busy machine
ATTEMPTS = 2
LABEL_CHARACTERS = 80
UNDRAWN = re.compile("[\x00-\x1f\ufffe\uffff]")  # what XML cannot hold ends the renderer's process
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
    """The chart; None where nothing can draw it, or too many wait for theirs."""
    if not can_draw():
        return None
    text = orjson.dumps(map_texts(specification, drawable), option=orjson.OPT_SORT_KEYS)
    kept = KEPT.get(text)
    if kept is None:
        drawn = await DRAWER.draw(text)
        if drawn is None:
            return None
        kept = Chart(specification["description"], *(clean_svg(svg, f"c{width}") for svg, width in drawn))
        KEPT[text] = kept
        while len(KEPT) > KEPT_CHARTS:
            KEPT.pop(next(iter(KEPT)))
    return kept


def is_missing(specification: Specification | None, chart: Chart | None) -> bool:
    """Whether a chart that could be drawn is missing for now."""
    return specification is not None and chart is None and can_draw()


def drawable(text: str) -> str:
    """A text that XML can hold, not too long for a label."""
    return UNDRAWN.sub("\ufffd", plain(text, LABEL_CHARACTERS))


@cache
def can_draw() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("vl_convert") is not None


class Drawer:
    """Draws in processes of its own: where the renderer fails, they alone end.

    A second one begins when a chart finds the first at work.
    """

    def __init__(self, processes: int = PROCESSES, drawing_seconds: float = DRAWING_SECONDS) -> None:
        self.processes = processes
        self.drawing_seconds = drawing_seconds
        self.pool: ProcessPoolExecutor | None = None
        self.waiting = 0

    async def draw(self, text: bytes) -> list[tuple[str, int]] | None:
        """The drawings of a specification with their widths; None where there are none, or not yet."""
        if self.waiting >= WAITING_MAXIMUM:
            return None
        self.waiting += 1
        try:
            # A process that is slow to begin, or has charts before this one, goes on: it is no fault of its own.
            async with asyncio.timeout(WAITING_SECONDS):
                return await self.attempt(text)
        except TimeoutError:
            return None
        finally:
            self.waiting -= 1

    async def attempt(self, text: bytes) -> list[tuple[str, int]] | None:
        """The drawings; None where the renderer fails at them."""
        for _ in range(ATTEMPTS):
            pool = self.open()
            try:
                return await asyncio.wrap_future(pool.submit(draw_within, self.drawing_seconds, text))
            except ValueError:
                self.restart(pool)
                return None
            except BrokenExecutor:
                self.restart(pool)  # it may have ended before this chart came
        return None

    def restart(self, pool: ProcessPoolExecutor) -> None:
        """Ends processes of which one failed; the next chart gets others."""
        if self.pool is pool:
            self.pool = None
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Ends the process, where one began; nobody waits for what it draws."""
        if self.pool is not None:
            self.restart(self.pool)

    def open(self) -> ProcessPoolExecutor:
        """The processes; they begin with the first chart."""
        if self.pool is None:
            self.pool = start_worker_process(self.processes, warm_up)
        return self.pool

    def prepare(self) -> None:
        """Starts a process, so that the first chart does not wait for it."""
        if can_draw() and self.pool is None:
            self.open().submit(warm_up)


def draw_within(seconds: float, text: bytes) -> list[tuple[str, int]]:
    """The drawings of a specification; the process ends where they take so many seconds of processor time."""
    # Without a handler either signal ends the process; one of Python's would wait for the renderer to return.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * BUSY_FACTOR)
    try:
        return draw(text)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def draw(text: bytes) -> list[tuple[str, int]]:
    """The drawings of a specification; ValueError where it is none."""
    import vl_convert

    specification: dict[str, Any] = orjson.loads(text)
    return [(vl_convert.vegalite_to_svg(fit_width(specification, width)), width) for width in (WIDE, NARROW)]


def warm_up() -> None:
    """Draws nothing, so that the first chart does not wait for the renderer: it takes a second to begin."""
    draw_within(DRAWING_SECONDS, orjson.dumps(EMPTY))


DRAWER = Drawer()
KEPT: dict[bytes, Chart] = {}


def clean_svg(svg: str, prefix: str) -> Markup:
    """A drawing that holds lines, shapes and texts alone, and can stand in a page; `prefix` keeps its ids apart."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - of our own renderer, never from outside
    clean_element(root, prefix)
    lighten(root)
    root.set("xmlns", SVG)
    root.set("aria-hidden", "true")  # the figure around it says what it shows, and has a table
    root.set("focusable", "false")
    text = ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")  # texts have no >
    return Markup(text)  # noqa: S704 - of elements and attributes listed above


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
