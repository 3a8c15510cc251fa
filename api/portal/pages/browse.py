"""Search: datasets by words, and by what they have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from api.http.query_string import split_query
from api.portal.asking import Asking
from api.portal.content import Content
from api.portal.page import Page
from api.portal.pages.catalogue import entries_of
from api.portal.pages.reports import list_reports, versions_of
from api.portal.reports.model import Report
from api.portal.slices import PARAMETER, cut, part_query

TITLES = {"product": "Product", "tag": "Tag", "status": "Status", "fresh": "Freshness"}
FRESH = {True: "fresh", False: "late"}
CHOICES_SHOWN = 12
PATH = "/browse"
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Choice:
    """One value of a facet: how many datasets have it, and the address that narrows to it, or widens again."""

    text: str
    count: int
    chosen: bool
    address: str


@dataclass(frozen=True)
class Facet:
    """What datasets have in common."""

    title: str
    choices: list[Choice]


async def build_browse(asking: Asking) -> Content:
    """The page: the catalogue, narrowed by the same parameters as the API's."""
    query_string: bytes = asking.request.scope["query_string"]
    _, filled = part_query(query_string)  # an empty field of the form is no question
    given = [(name, value) for name, value in split_query(query_string) if value and name != PARAMETER]
    reply = await asking.get_raw("/data", "&".join(filled))
    search = next((value for name, value in given if name == "q"), "")
    is_narrowed = any(name != "q" for name, _ in given)
    listed = await list_reports(asking) if search and not is_narrowed else []
    reports = [report for report in listed if report.path and not report.faults and holds_words(report, search)]
    found = cut(list(entries_of(reply.data)), query_string, PATH)
    values = {
        "found": found,
        "entries": found.members,
        "facets": facets_of(reply.value["facets"], given),
        "reports": reports,
    }
    title = f"{search} – search" if search else "Browse"
    return Content(
        "browse.html",
        title,
        values,
        alternate=reply.address,
        search=search,
        indexed=not given and found.before is None,
        version=versions_of(reports),
    )


def holds_words(report: Report, search: str) -> bool:
    """Whether words of a report's title and description begin with all words of a search, as datasets are found."""
    words = WORD.findall(f"{report.title} {report.description}".casefold())
    wanted = WORD.findall(search.casefold())
    return bool(wanted) and all(any(word.startswith(each) for word in words) for each in wanted)


def facets_of(facets: dict[str, list[dict[str, Any]]], given: list[tuple[str, str]]) -> list[Facet]:
    """The facets that have anything to choose, each with its most frequent values and those that are chosen."""
    found = []
    for name, title in TITLES.items():
        chosen = [member for each, value in given if each == name for member in value.split(",")]
        others = [(each, value) for each, value in given if each != name]
        choices = []
        for offered in facets.get(name, []):
            value = offered["value"]
            text = str(value).lower() if isinstance(value, bool) else value
            is_chosen = text in chosen
            members = [each for each in chosen if each != text] if is_chosen else [*chosen, text]
            query = urlencode([*others, *((name, each) for each in members)])
            shown = FRESH[value] if isinstance(value, bool) else text
            choices.append(Choice(shown, offered["count"], is_chosen, PATH + (f"?{query}" if query else "")))
        kept = [choice for index, choice in enumerate(choices) if index < CHOICES_SHOWN or choice.chosen]
        if len(kept) > 1 or any(choice.chosen for choice in kept):
            found.append(Facet(title, kept))
    return found


BROWSE = Page("portal browse", PATH, build_browse)
