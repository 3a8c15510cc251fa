"""Facets of the explorer: the values of each property, by its profile and counted under the filters. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from api.portal.charts.specification import show_value
from api.portal.explorer.changes import filter_name
from api.portal.explorer.links import Addresses, Link
from api.portal.explorer.question import Exploration, Part, encode_value, write_parts
from api.portal.figures import Bar, Figures

UNBOUNDED = frozenset({"numeric"})  # of exact decimals: bounds of intervals have more digits than they take
FEW_VALUES = 60  # distinct ones of a number or a moment: then they are counted one by one
VALUES_COUNTED = 20
Properties = list[dict[str, Any]]


@dataclass(frozen=True)
class Facet:
    """One property with the values to choose from."""

    name: str
    figures: Figures | None
    links: list[Link]  # the parts of its profile
    bars: list[tuple[Bar, Link]]  # the same as a small drawing for the head of its column
    counts: str | None  # the address of its values counted under the filters; None where the profile says it all
    page: str  # the address of the page that has it open, without script
    is_open: bool = False


@dataclass(frozen=True)
class Counted:
    """The values of a property under the filters; neither late nor a problem where they were counted."""

    links: list[Link]
    revision: int
    others: bool = False  # whether there are more values than are listed
    is_late: bool = False  # the counting took longer than a reader waits
    anyway: str = ""  # the page that counts however long it takes
    anyway_counts: str = ""  # the same for scripts
    problem: str | None = None


def facets_of(
    question: Exploration,
    properties: Properties,
    figures: dict[str, Figures],
    revisions: tuple[int, int],
    addresses: Addresses,
) -> list[Facet]:
    """The facets of the properties that can be filtered; `revisions` are those of the profile and of the page."""
    found = []
    for prop in properties:
        known = figures.get(prop["name"])
        if "eq" not in prop["operators"] or not is_facet(prop, known, bool(figures)):
            continue
        others = question.without_filters_of(prop["name"])
        links = part_links(question, others, prop, known, addresses) if known else []
        countable = can_count(prop, known)
        differs = bool(others.filters) or known is None or revisions[0] != revisions[1]
        name = prop["name"]
        found.append(
            Facet(
                name=name,
                figures=known,
                links=[link for link in links if link.note != "0"],
                bars=list(zip(known.bars, links, strict=False)) if known else [],
                counts=addresses.of_counts(others, name, revisions[1]) if countable and differs else None,
                page=addresses.of_facet(question, name),
                is_open=question.value("facet") == name,
            )
        )
    return found


def is_facet(prop: dict[str, Any], figures: Figures | None, profiled: bool) -> bool:
    """Whether there is anything to choose from; without a profile, of texts and truths alone."""
    if not profiled:
        return prop["type"] in {"string", "boolean"}
    if figures is None or not figures.parts:
        return False
    return not (figures.is_histogram and prop["type"] in UNBOUNDED)


def can_count(prop: dict[str, Any], figures: Figures | None) -> bool:
    """Whether its values are few enough to be counted one by one, under a name that the count does not take."""
    if prop["name"] == "count":
        return False
    return figures is None or not figures.is_histogram or figures.profile["distinct"] <= FEW_VALUES


def part_links(
    question: Exploration, others: Exploration, prop: dict[str, Any], figures: Figures, addresses: Addresses
) -> list[Link]:
    """A link for each part of the profile, in its order, which filters by it."""
    links = []
    for part in figures.parts:
        conditions = [(name, encode_value(value)) for name, value in conditions_of(prop, figures, part)]
        asked = others
        for name, value in conditions:
            asked = asked.add(name, value)
        text = figures.show(part) if figures.is_histogram else show_value(part["value"])
        chosen = all(condition in question.parts for condition in conditions)
        links.append(Link(text, addresses.of(asked), chosen, f"{part['records']:,}"))
    return links


def conditions_of(prop: dict[str, Any], figures: Figures, part: dict[str, Any]) -> list[tuple[str, str]]:
    """The filters that leave the records of a part of a profile: (parameter, value)."""
    name = prop["name"]
    if not figures.is_histogram:
        return [condition_of(name, part["value"])]
    last = part is figures.parts[-1]  # which holds both its bounds
    low, high = write_bound(prop["type"], part["from"]), write_bound(prop["type"], part["to"])
    return [(f"{name}[gte]", low), (f"{name}[{'lte' if last else 'lt'}]", high)]


def condition_of(name: str, value: Any) -> tuple[str, str]:
    """The filter that leaves the records with a value: (parameter, value)."""
    if value is None:
        return f"{name}[null]", "true"
    return filter_name(name, "eq"), str(value).lower() if isinstance(value, bool) else str(value)


def write_bound(kind: str, bound: Any) -> str:
    """A bound of an interval as a filter of this type takes it: the first value that is not below it."""
    if kind in {"integer", "smallint"}:
        return str(math.ceil(bound))
    text = str(bound)
    if kind == "date":
        day = datetime.fromisoformat(text)
        return str((day + timedelta(days=1)).date() if day.time() > time.min else day.date())
    return text.removesuffix("+00:00") if kind == "local timestamp" else text


def count_query(question: Exploration, name: str, at: str) -> str:
    """The API's question: how many records have each value, under the conditions on other properties."""
    conditions: list[Part] = [condition.part for condition in question.without_filters_of(name).filters]
    asked: list[Part] = [("group_by", encode_value(name)), ("measure", "count")]
    asked += [("sort", "-count"), ("limit", str(VALUES_COUNTED)), ("at", encode_value(at))]
    asked += [part for part in question.parts if part[0] == "epoch"]
    return write_parts([*conditions, *asked])


def counted_links(question: Exploration, name: str, rows: list[dict[str, Any]], addresses: Addresses) -> list[Link]:
    """A link for each counted value, which filters by it."""
    others, links = question.without_filters_of(name), []
    for row in rows:
        value, count = row.values()
        parameter, text = condition_of(name, value)
        part = (parameter, encode_value(text))
        shown = "(null)" if value is None else show_value(value)
        links.append(Link(shown, addresses.of(others.add(*part)), part in question.parts, f"{count:,}"))
    return links
