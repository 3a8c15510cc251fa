"""The values of one property, counted under the filters of a question: a fragment of the explorer."""

from __future__ import annotations

import asyncio
from typing import Any

from api.http.paths import SLASH
from api.http.problems import KINDS, Problem
from api.portal.asking import Asking
from api.portal.content import Content
from api.portal.explorer.facets import VALUES_COUNTED, Counted, count_query, counted_links
from api.portal.explorer.links import Addresses
from api.portal.explorer.question import FACET_TIME, Exploration
from api.portal.page import Page
from api.portal.pages.subject import EXPLAINED, Subject, find_subject

QUICK_SECONDS = 0.8  # what a reader waits for without having asked


async def build_facet(asking: Asking) -> Content:
    """The fragment; `not_found` for a property whose values the caller cannot group by."""
    subject = await find_subject(asking)
    name = asking.request.path_params["name"].replace(SLASH, "/")
    if not any(prop["name"] == name and "eq" in prop["operators"] for prop in subject.dataset["properties"]):
        raise Problem("not_found", "The dataset has no such property to count by.")
    question = Exploration.read(asking.request.scope["query_string"].decode("ascii", "replace"))
    counted, problem = await count_at(asking, subject, question, name)
    values: dict[str, Any] = subject.values | {"counted": counted}
    title = f"{name} – {subject.dataset['dataset']}"
    return Content("facet.html", title, values, indexed=False, problem=problem, is_kept=not counted.is_late)


async def count_values(asking: Asking, subject: Subject, question: Exploration, name: str) -> Counted:
    """The values with their numbers of records, as they stand on a page."""
    return (await count_at(asking, subject, question, name))[0]


async def count_at(
    asking: Asking, subject: Subject, question: Exploration, name: str
) -> tuple[Counted, Problem | None]:
    """The values with their numbers of records, at the revision of the question; what is wrong with it otherwise.

    Counting ends after a time that readers wait unasked, unless the address asks for the full time.
    """
    addresses, given = Addresses(subject.page), question.value("at")
    newest: int = subject.dataset["revision"]
    revision = int(given) if given and given.isascii() and given.isdigit() and len(given) < 19 else newest
    anyway = addresses.of_facet(question, name, full=True)
    again = addresses.of_counts(question, name, revision, full=True)
    query = count_query(question, name, given or str(newest))
    is_full = question.value(FACET_TIME) == "full"
    try:
        async with asyncio.timeout(None if is_full else QUICK_SECONDS):
            reply = await asking.get_raw(f"{subject.path}/aggregate", query)
    except TimeoutError:
        return Counted([], revision, is_late=True, anyway=anyway, anyway_counts=again), None
    except Problem as problem:
        if KINDS[problem.code].status not in EXPLAINED:
            raise
        return Counted([], revision, problem=problem.detail or KINDS[problem.code].title), problem
    links = counted_links(question, name, reply.data, addresses)
    more = reply.value["next"] is not None and len(links) >= VALUES_COUNTED
    return Counted(links, reply.revision or revision, others=more), None


FACET = Page("portal facet", "/browse/{product}/v{major}/{dataset}/explore/facets/{name:path}", build_facet)
