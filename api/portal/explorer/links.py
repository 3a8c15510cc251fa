"""Links of the explorer: what can be chosen on its page, and where that leads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from api.portal.explorer.changes import remove_member
from api.portal.explorer.question import FACET, FACET_TIME, VIEW, Exploration, encode_value
from api.portal.explorer.views import views_of


@dataclass(frozen=True)
class Link:
    """Something to choose: its text, its address, and whether it is chosen."""

    text: str
    href: str
    chosen: bool = False
    note: str = ""


@dataclass(frozen=True)
class Addresses:
    """Where questions about a dataset stand in the portal."""

    page: str  # the path of the dataset's page

    def of(self, question: Exploration) -> str:
        """The address of a question."""
        return f"{self.page}/explore" + prefixed("?", question.address)

    def of_facet(self, question: Exploration, name: str, *, full: bool = False) -> str:
        """The address of a question whose page has the facet of a property open."""
        opened = question.set(FACET, encode_value(name))
        return self.of(opened.set(FACET_TIME, "full" if full else None))

    def of_counts(self, question: Exploration, name: str, revision: int, *, full: bool = False) -> str:
        """The address of the counted values of a property alone, for scripts."""
        asked = question.set(FACET, None).set("at", str(revision)).set(FACET_TIME, "full" if full else None)
        return f"{self.page}/explore/facets/{quote(name, safe='')}" + prefixed("?", asked.address)


def prefixed(sign: str, query: str) -> str:
    """A query string behind a sign; nothing where it is empty."""
    return sign + query if query else ""


def sort_link(question: Exploration, name: str, dataset: dict[str, Any], addresses: Addresses) -> Link | None:
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
    return Link(name, addresses.of(question.set("sort", encode_value(wanted))), bool(mark), mark)


def view_links(question: Exploration, groups: Sequence[str], current: str, addresses: Addresses) -> list[Link]:
    """The views that an answer can have."""
    views = views_of(question, groups)
    return [Link(view, addresses.of(question.set(VIEW, view)), view == current) for view in views]


def chips_of(question: Exploration, addresses: Addresses) -> list[Link]:
    """What the question holds; each link takes one part out."""
    chips = [Link(condition.text, addresses.of(question.without(condition.part))) for condition in question.filters]
    for name, word in (("group_by", "by"), ("measure", "measure")):
        for index, member in enumerate(question.values(name)):
            chips.append(Link(f"{word} {member}", addresses.of(remove_member(question, name, index))))
    return chips


def following(question: Exploration, next_url: str | None, addresses: Addresses) -> str | None:
    """The address of the next page of the same revision."""
    if not next_url:
        return None
    asked = Exploration.read(urlsplit(next_url).query)
    for name in (VIEW, FACET):
        if value := question.value(name):
            asked = asked.set(name, encode_value(value))
    return addresses.of(asked)
