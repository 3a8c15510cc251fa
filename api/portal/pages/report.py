"""One report: its text, and what its blocks show; every block of a dataset reads one revision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from api.http.addresses import public_path
from api.http.problems import Problem
from api.portal.asking import Asking
from api.portal.charts.drawing import DRAWER, draw_chart, is_missing
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.report_answers import Head, ShownBlock, answer_question, find_head
from api.portal.pages.report_overviews import answer_overview
from api.portal.reports.folder import reports_of
from api.portal.reports.markdown import render_prose
from api.portal.reports.model import Block, Place, Prose, Report


@dataclass(frozen=True)
class Read:
    """A dataset that the report read, at one revision."""

    place: Place
    dataset: str
    revision: int


@dataclass
class Drawing:
    """The charts of one page: after one that was not drawn in time, the page waits for no other."""

    turns: asyncio.Semaphore
    is_late: bool = False


async def build_report(asking: Asking) -> Content:
    """The page; what is wrong with a part stands in its place, and the others stand as they are."""
    slug = asking.request.path_params["slug"]
    report = await asyncio.to_thread(reports_of(asking.request).find, slug)
    if report is None:
        raise Problem("not_found", "No report has this name.")
    if any(block.kind == "chart" for block in report.blocks):
        DRAWER.prepare()  # while the questions are asked
    drawn = await answer_blocks(asking, report)
    is_whole = not any(is_missing(block.specification, block.chart) for block in drawn)
    values = {
        "report": report,
        "parts_shown": arrange(asking, report, drawn),
        "reads": reads_of(drawn),
        "anonymous": asking.principal.id is None,
    }
    is_kept = is_whole and not any(block.note and block.note.passing for block in drawn)
    return Content("report.html", report.title, values, report.description, version=report.version, is_kept=is_kept)


async def answer_blocks(asking: Asking, report: Report) -> list[ShownBlock]:
    """The blocks with their answers; each dataset is asked for its revision once, before any question."""
    places = list(dict.fromkeys(block.place for block in report.blocks if block.is_question and block.places))
    heads = dict(zip(places, await asyncio.gather(*(find_head(asking, place) for place in places)), strict=True))
    drawing = Drawing(asyncio.Semaphore(DRAWER.processes))  # more at once would take the turns of other pages
    return list(
        await asyncio.gather(
            *(
                answer_drawn(asking, block, heads, drawing) if block.is_question else answer_overview(asking, block)
                for block in report.blocks
            )
        )
    )


async def answer_drawn(asking: Asking, block: Block, heads: Mapping[Place, Head], drawing: Drawing) -> ShownBlock:
    """A block with its answer, and its chart, which is drawn while others are asked."""
    answered = await answer_question(asking, block, heads)
    if answered.specification is None:
        return answered
    async with drawing.turns:
        chart = await draw_chart(answered.specification) if not drawing.is_late else None
        drawing.is_late = chart is None
    return replace(answered, chart=chart)


def arrange(asking: Asking, report: Report, blocks: Sequence[ShownBlock]) -> list[tuple[str, Any]]:
    """The parts in their order, as ("prose", HTML), ("figures", blocks) or ("block", block)."""
    shown, numbers, settings = iter(blocks), count(1), asking.context.settings
    arranged: list[tuple[str, Any]] = []
    for part in report.parts:
        if isinstance(part, Prose):
            html = render_prose(part.tokens, lambda path: public_path(settings, path), numbers)
            arranged.append(("prose", html))
            continue
        block = next(shown)
        if not is_figure(part) or (block.note and block.note.kind == "wrong"):
            arranged.append(("block", block))
        elif arranged and arranged[-1][0] == "figures":
            arranged[-1][1].append(block)
        else:
            arranged.append(("figures", [block]))
    return arranged


def is_figure(block: Block) -> bool:
    """Whether a block is one number, which stands beside its neighbours."""
    return block.kind == "figure"


def reads_of(blocks: Sequence[ShownBlock]) -> list[Read]:
    """The datasets that were read, each with its revision, in the order of the report."""
    return list(
        dict.fromkeys(
            Read(block.block.place, block.dataset, block.revision)
            for block in blocks
            if block.revision is not None and block.block.is_question
        )
    )


REPORT = Page("portal report", "/reports/{slug}", build_report)
