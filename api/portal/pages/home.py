"""The first page: search, how the datasets stand, and what was published lately."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from api.portal.asking import Asking, Reply
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.catalogue import STATES, Entry, entries_of
from api.portal.pages.reports import list_reports, versions_of

RECENT = timedelta(days=7)
BOARD_MAXIMUM = 12
NEWS_MAXIMUM = 8
REPORTS_MAXIMUM = 6


async def build_home(asking: Asking) -> Content:
    """The page."""
    catalogue = await asking.get("/data")
    session = asking.visitor.session
    visited_at = session.visited_at if session is not None else None
    # In a thread: thousands of datasets take their time, and others are answered meanwhile.
    standing = await asyncio.to_thread(arrange, catalogue, visited_at or datetime.now(UTC) - RECENT)
    counts, news = standing.counts, standing.news
    found = await asyncio.gather(*(newest_revision(asking, entry) for entry in news[:NEWS_MAXIMUM]))
    reports = await list_reports(asking)
    values = {
        "reports": [report for report in reports if report.path and not report.faults][:REPORTS_MAXIMUM],
        "products": len(catalogue.data),
        "entries": standing.entries,
        "states": [(state, text, counts[state]) for state, text in STATES.items() if counts[state]],
        "visited_at": visited_at.isoformat() if visited_at else None,
        "board": standing.board[:BOARD_MAXIMUM],
        "unshown": len(news[NEWS_MAXIMUM:]),
        "news": [(entry, revision) for entry, revision in zip(news, found, strict=False) if revision],
    }
    return Content(
        "home.html",
        "Data catalogue",
        values,
        "Curated datasets, each in whole, checked revisions.",
        alternate="/data",
        version=versions_of(reports),
    )


class Standing(NamedTuple):
    """How the datasets stand."""

    entries: list[Entry]
    counts: Counter[str]  # of each state
    board: list[Entry]  # what needs attention first
    news: list[Entry]  # what was published lately, the newest first


def arrange(catalogue: Reply, since: datetime) -> Standing:
    """How the datasets of the catalogue stand; news are of what was published after a moment."""
    entries = list(entries_of(catalogue.data))
    order = list(STATES)
    news = sorted(
        (entry for entry in entries if is_after(entry.dataset["published_at"], since)),
        key=lambda entry: entry.dataset["published_at"],
        reverse=True,
    )
    board = sorted(entries, key=lambda entry: (order.index(entry.state), entry.path))
    return Standing(entries, Counter(entry.state for entry in entries), board, news)


def is_after(text: str | None, since: datetime) -> bool:
    """Whether there was a publication after a moment."""
    return text is not None and datetime.fromisoformat(text) > since


async def newest_revision(asking: Asking, entry: Entry) -> dict[str, Any] | None:
    """What the newest revision changed."""
    reply = await asking.find(f"{entry.dataset_path}/revisions", ("limit", "1"))
    return next(iter(reply.data), None) if reply else None


HOME = Page("portal home", "/", build_home)
