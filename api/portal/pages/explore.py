"""The explorer: a question that people put together, its answer as a table and a chart, and ways to take it along."""

from __future__ import annotations

import asyncio
from typing import Any

from api.datasets.aggregates_parameters import MEASURES
from api.http.problems import KINDS, Problem
from api.portal.asking import Asking, Reply
from api.portal.charts.aggregate import GroupChart, chart_of_groups, default_view, fitting_views
from api.portal.charts.drawing import draw_chart, is_missing
from api.portal.charts.sharing import share_chart
from api.portal.content import Content, Elsewhere
from api.portal.explorer.changes import apply_form
from api.portal.explorer.columns import columns_of, split_columns
from api.portal.explorer.facets import Counted, facets_of
from api.portal.explorer.faults import find_fault
from api.portal.explorer.links import Addresses, chips_of, following, prefixed, view_links
from api.portal.explorer.question import FACET, VIEW, Exploration
from api.portal.explorer.snippets import write_snippets
from api.portal.figures import figures_of
from api.portal.page import Page
from api.portal.pages.downloads import downloads_of, find_sizes
from api.portal.pages.facet import count_values
from api.portal.pages.subject import EXPLAINED, Subject, find_subject, find_whole

LIMIT_MAXIMUM = 1000  # rows of a page
TABLE = "table"  # the view that draws nothing
MOMENT_TYPES = frozenset({"timestamp", "local timestamp"})


async def build_explore(asking: Asking) -> Content:
    """The page. An address that a form made becomes the plain address of its question."""
    subject = await find_subject(asking)
    path, page, dataset = subject.path, subject.page, subject.dataset
    given: str = asking.request.scope["query_string"].decode("ascii", "replace")
    moments = [prop["name"] for prop in dataset["properties"] if prop["type"] in MOMENT_TYPES]
    question = apply_form(Exploration.read(given), moments)
    if question.address != given:
        raise Elsewhere(f"{page}/explore" + (f"?{question.address}" if question.address else ""))
    addresses = Addresses(page)
    groups, view = question.values("group_by"), question.value(VIEW) or default_view(question.values("group_by"))
    asked = widen(question, groups, view)
    profile, sizes, counted, (reply, problem) = await asyncio.gather(
        find_whole(asking, subject, "profile"),
        find_sizes(asking, path),
        count_opened(asking, subject, question),
        ask(asking, path, asked, dataset["revision"]),
    )
    rows = reply.data if reply else []
    planned = plan_chart(question, groups, view, rows)
    chart = await draw_chart(planned.specification) if planned else None
    is_missed = is_missing(planned.specification if planned else None, chart)
    revision = reply.revision if reply and reply.revision else dataset["revision"]
    figures = figures_of(profile.value if profile else None)
    revisions = (profile.value["revision"] if profile else 0, revision)
    facets = facets_of(question, dataset["properties"], figures, revisions, addresses)
    values = subject.values | {
        "question": question,
        "problem": problem,
        "wrong": find_fault(question, problem),
        "rows": rows,
        "columns": columns_of(question, dataset, rows, addresses),
        "chart": chart,
        "planned": planned,
        "views": view_links(question, groups, view, addresses),
        "chips": chips_of(question, addresses),
        "facets": facets,
        "heads": {} if question.is_aggregate else {facet.name: facet for facet in facets if facet.bars},
        "counted": counted,
        "profiled": revisions[0],
        "revision": revision,
        "following": following(question, reply.value.get("next") if reply else None, addresses),
        "wider": addresses.of(question.set("limit", str(LIMIT_MAXIMUM))) if len(rows) < LIMIT_MAXIMUM else None,
        "measures": MEASURES,
        "operators": sorted({op for prop in dataset["properties"] for op in prop["operators"]}),
        "summary": summary_of(question, rows, problem),
        "downloads": downloads_of(sizes, revision, is_part=bool(question.filters)),
    }
    values |= sharing_of(asking, subject, question, asked, revision, planned)
    return Content(
        "explore.html",
        f"Explore {dataset['dataset']}",
        values,
        alternate=asked_path(path, asked) + prefixed("?", asked.query),
        indexed=False,
        problem=problem,
        is_kept=not (is_missed or (counted and (counted.is_late or counted.problem))),
    )


def plan_chart(question: Exploration, groups: list[str], view: str, rows: list[dict[str, Any]]) -> GroupChart | None:
    """The chart of the first measure by its groups; None where the answer has none."""
    names, measures = split_columns(question, rows)
    if not (question.is_aggregate and measures):
        return None
    return chart_of_groups(view, groups, names, measures[0], rows)


def widen(question: Exploration, groups: list[str], view: str) -> Exploration:
    """The question with the largest limit where a chart is to be drawn of it and none is given."""
    is_drawn = question.is_aggregate and view != TABLE and view in fitting_views(groups)
    return question.set("limit", str(LIMIT_MAXIMUM)) if is_drawn and question.value("limit") is None else question


async def count_opened(asking: Asking, subject: Subject, question: Exploration) -> Counted | None:
    """The counted values of the facet that the address names; None where it names none, or one that is not there."""
    name = question.value(FACET)
    known = {prop["name"] for prop in subject.dataset["properties"] if "eq" in prop["operators"]}
    return await count_values(asking, subject, question, name) if name is not None and name in known else None


def summary_of(question: Exploration, rows: list[dict[str, Any]], problem: Problem | None) -> str:
    """The answer in a sentence, for those who hear that the page has changed."""
    if problem:
        return ""  # it is said once, where it stands
    what = "group" if question.is_aggregate else "record"
    return f"{len(rows)} {what}{'' if len(rows) == 1 else 's'} on this page"


def sharing_of(
    asking: Asking,
    subject: Subject,
    question: Exploration,
    asked: Exploration,
    revision: int,
    planned: GroupChart | None,
) -> dict[str, Any]:
    """What takes the question along: addresses that are pinned or follow, programs that ask what the page asked."""
    path, dataset, addresses = subject.path, subject.dataset, Addresses(subject.page)
    address = asking.origin + asked_path(path, asked) + prefixed("?", asked.query)
    exported = f"{asking.origin}{path}/export?format=parquet" + prefixed("&", question.export_query)
    program = None if question.is_aggregate else exported  # an export has records, not groups
    shared = question.set(FACET, None)
    chart = share_chart(planned, address) if planned else None
    return {
        "live": addresses.of(shared.set("at", None)),
        "pinned": addresses.of(shared.set("at", str(revision))),
        "is_pinned": question.value("at") is not None,
        "snippets": write_snippets(address, program, chart, is_open=dataset["open"]),
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


EXPLORE = Page("portal explore", "/browse/{product}/v{major}/{dataset}/explore", build_explore)
