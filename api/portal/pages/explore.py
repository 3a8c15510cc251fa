"""The explorer: a question that people put together, its answer as a table and a chart, and ways to take it along."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlsplit

from api.datasets.aggregates_parameters import MEASURES
from api.http.problems import KINDS, Problem
from api.portal.asking import Asking, Reply
from api.portal.charts.aggregate import chart_of_groups, default_view, is_time
from api.portal.charts.drawing import draw_chart, is_missing
from api.portal.charts.specification import show_value
from api.portal.content import Content, Elsewhere
from api.portal.explorer.changes import apply_form, filter_name, remove_member
from api.portal.explorer.question import VIEW, VIEWS, Exploration, encode_value
from api.portal.explorer.snippets import write_snippets
from api.portal.figures import Figures, figures_of
from api.portal.page import Page
from api.portal.pages.dataset import download_formats
from api.portal.pages.subject import Subject, find_subject, find_whole

EXPLAINED = frozenset({404, 406, 410, 422, 504})  # problems that stand beside the form, to be corrected there
VALUES_SHOWN = 8
UNBOUNDED = frozenset({"numeric"})  # of exact decimals: bounds of intervals have more digits than they take


Href = Callable[[Exploration], str]  # the address of a question


@dataclass(frozen=True)
class Link:
    """Something to choose: its text, its address, and whether it is chosen."""

    text: str
    href: str
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the answer, with the link that sorts by it."""

    name: str
    sort: Link | None


async def build_explore(asking: Asking) -> Content:
    """The page. An address that a form made becomes the plain address of its question."""
    subject = await find_subject(asking)
    path, page, dataset = subject.path, subject.page, subject.dataset
    given: str = asking.request.scope["query_string"].decode("ascii", "replace")
    question = apply_form(Exploration.read(given))
    if question.address != given:
        raise Elsewhere(f"{page}/explore" + (f"?{question.address}" if question.address else ""))
    profile, (reply, problem) = await asyncio.gather(
        find_whole(asking, subject, "profile"), ask(asking, path, question, dataset["revision"])
    )
    groups, view = question.values("group_by"), question.value(VIEW) or default_view(question.values("group_by"))
    rows = reply.data if reply else []
    names, measures = split_columns(question, rows)
    drawn = question.is_aggregate and measures
    specification = chart_of_groups(view, groups, names, measures[0], rows) if drawn else None
    chart = await draw_chart(specification) if specification else None

    def href(asked: Exploration) -> str:
        return f"{page}/explore" + (f"?{asked.address}" if asked.address else "")

    values = subject.values | {
        "question": question,
        "problem": problem,
        "rows": rows,
        "columns": [
            Column(name, sort_link(question, name, dataset, href)) for name in columns_of(question, dataset, rows)
        ],
        "chart": chart,
        "views": [Link(each, href(question.set(VIEW, each)), each == view) for each in views_of(question, groups)],
        "chips": chips_of(question, href),
        "facets": facets_of(question, dataset, profile, href),
        "revision": reply.revision if reply else dataset["revision"],
        "following": following(question, reply, href),
        "measures": MEASURES,
        "operators": sorted({op for prop in dataset["properties"] for op in prop["operators"]}),
    }
    values |= sharing_of(asking, subject, question, reply.revision if reply else None, href)
    alternate = asked_path(path, question) + prefixed("?", question.query)
    title = f"Explore {dataset['dataset']}"
    is_whole = not is_missing(specification, chart)
    return Content(
        "explore.html",
        title,
        values,
        alternate=alternate,
        indexed=False,
        problem=problem,
        is_kept=is_whole,
    )


def sharing_of(
    asking: Asking, subject: Subject, question: Exploration, revision: int | None, href: Href
) -> dict[str, Any]:
    """What takes the question along: addresses that are pinned or follow, programs, files."""
    path, dataset = subject.path, subject.dataset
    address = asking.origin + asked_path(path, question) + prefixed("?", question.query)
    exported = f"{asking.origin}{path}/export?format=parquet" + prefixed("&", question.export_query)
    return {
        "live": href(question.set("at", None)),
        "pinned": href(question.set("at", str(revision or dataset["revision"]))),
        "is_pinned": question.value("at") is not None,
        "snippets": write_snippets(address, exported, is_open=dataset["open"]),
        "formats": download_formats(),
    }


def asked_path(path: str, question: Exploration) -> str:
    """The path of the API's question."""
    return f"{path}/{'aggregate' if question.is_aggregate else 'records'}"


async def ask(asking: Asking, path: str, question: Exploration, revision: int) -> tuple[Reply | None, Problem | None]:
    """The answer at the revision that the page began with; what is wrong with the question, where it is that."""
    query = question.query
    if question.value("at") is None and revision:
        query += ("&" if query else "") + f"at={revision}"
    try:
        return await asking.get_raw(asked_path(path, question), query), None
    except Problem as problem:
        if KINDS[problem.code].status not in EXPLAINED:
            raise
        return None, problem


def split_columns(question: Exploration, rows: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The names of groups and of measures in the rows of an aggregate."""
    names = list(rows[0]) if rows else []
    count = len(question.values("group_by"))
    return names[:count], names[count:]


def columns_of(question: Exploration, dataset: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """The columns of the table."""
    if rows:
        return [name for name in rows[0] if name != "expanded"]
    return [] if question.is_aggregate else [prop["name"] for prop in dataset["properties"]]


def sort_link(question: Exploration, name: str, dataset: dict[str, Any], href: Href) -> Link | None:
    """The link that sorts by a column, upwards first; None where it has no order."""
    ordered = {prop["name"] for prop in dataset["properties"] if "eq" in prop["operators"]}
    if not question.is_aggregate and name not in ordered:
        return None
    current = question.values("sort")
    mark = "" if name not in current else "ascending"
    mark = "descending" if f"-{name}" in current else mark
    wanted = f"-{name}" if mark == "ascending" else name
    if question.is_aggregate and not mark:
        wanted = f"-{name}"  # of measures the greatest is looked for first
    return Link(name, href(question.set("sort", encode_value(wanted))), bool(mark), mark)


def views_of(question: Exploration, groups: list[str]) -> list[str]:
    """The views that an answer can have."""
    if not question.is_aggregate or not groups:
        return []
    fitting = {"line": is_time(groups[0]), "histogram": groups[0].startswith("bin("), "heat": len(groups) > 1}
    return [view for view in VIEWS if fitting.get(view, True)]


def chips_of(question: Exploration, href: Href) -> list[Link]:
    """What the question holds; each link takes one part out."""
    chips = [Link(condition.text, href(question.without(condition.part))) for condition in question.filters]
    for name, word in (("group_by", "by"), ("measure", "measure")):
        for index, member in enumerate(question.values(name)):
            chips.append(Link(f"{word} {member}", href(remove_member(question, name, index))))
    return chips


def facets_of(
    question: Exploration, dataset: dict[str, Any], profile: Reply | None, href: Href
) -> list[tuple[str, Figures, list[Link]]]:
    """For each property the values or intervals of its profile, each with the link that filters by it."""
    found = []
    for name, figures in figures_of(profile.value if profile else None).items():
        prop = next((each for each in dataset["properties"] if each["name"] == name), None)
        if prop is None or "eq" not in prop["operators"] or not figures.parts or prop["type"] in UNBOUNDED:
            continue
        others = question.without(*[part for part in question.parts if part[0].partition("[")[0] == name])
        links = []
        for part in sorted(figures.parts, key=lambda part: -part["records"])[:VALUES_SHOWN]:
            asked = others
            for parameter, value in conditions_of(prop, figures, part):
                asked = asked.add(parameter, encode_value(value))
            text = figures.show(part) if figures.is_histogram else show_value(part["value"])
            links.append(Link(text, href(asked), note=f"{part['records']:,}"))
        found.append((name, figures, links))
    return found


def conditions_of(prop: dict[str, Any], figures: Figures, part: dict[str, Any]) -> list[tuple[str, str]]:
    """The filters that leave the records of a part of a profile: (parameter, value)."""
    name = prop["name"]
    if not figures.is_histogram:
        value = part["value"]
        return [(filter_name(name, "eq"), str(value).lower() if isinstance(value, bool) else str(value))]
    last = part is figures.parts[-1]  # which holds both its bounds
    low, high = write_bound(prop["type"], part["from"]), write_bound(prop["type"], part["to"])
    return [(f"{name}[gte]", low), (f"{name}[{'lte' if last else 'lt'}]", high)]


def write_bound(kind: str, bound: Any) -> str:
    """A bound of an interval as a filter of this type takes it: the first value that is not below it."""
    if kind in {"integer", "smallint"}:
        return str(math.ceil(bound))
    text = str(bound)
    if kind == "date":
        day = datetime.fromisoformat(text)
        return str((day + timedelta(days=1)).date() if day.time() > time.min else day.date())
    return text.removesuffix("+00:00") if kind == "local timestamp" else text


def following(question: Exploration, reply: Reply | None, href: Href) -> str | None:
    """The address of the next page of the same revision."""
    next_url = reply.value.get("next") if reply else None
    if not next_url:
        return None
    asked = Exploration.read(urlsplit(next_url).query)
    view = question.value(VIEW)
    return href(asked.set(VIEW, view) if view else asked)


def prefixed(sign: str, query: str) -> str:
    """A query string behind a sign; nothing where it is empty."""
    return sign + query if query else ""


EXPLORE = Page("portal explore", "/browse/{product}/v{major}/{dataset}/explore", build_explore)
