"""The query string of an aggregate -> AggregateQuery. Pure.

`group_by=carrier,month(scheduled_departure)&measure=count,avg:departure_delay`, with the filters of the records.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from api.http.problems import Problem, closest, parameter_problem
from api.http.query_string import split_names
from api.query.condition import Filter
from api.query.parameters import (
    LIMIT_DEFAULT,
    Draft,
    ListReader,
    Reader,
    Validator,
    read_at,
    read_cursor,
    read_draft,
    read_epoch,
    read_limit,
)
from catalog.model.dataset import Property
from catalog.types.filter_operators import EQUAL

NUMERIC_MEASURES = ("sum", "avg", "median", "p95")
ORDERED_MEASURES = ("min", "max")
MEASURES = ("count", "distinct", *ORDERED_MEASURES, *NUMERIC_MEASURES)
PARTS_MAXIMUM = 20
GROUP_TEXT = re.compile(r"(?:([a-z]+)\((.+)\)|(.+))")


@dataclass(frozen=True)
class Group:
    """One thing to group by: a property, or the time bucket of one."""

    of: str
    bucket: str | None = None

    @property
    def name(self) -> str:
        """What it is called in the answer."""
        return f"{self.bucket}_{self.of}" if self.bucket else self.of


@dataclass(frozen=True)
class Measure:
    """One thing to measure; `count` alone counts records, with a property those that have a value."""

    function: str
    of: str | None = None

    @property
    def name(self) -> str:
        """What it is called in the answer."""
        return f"{self.function}_{self.of}" if self.of else self.function


@dataclass(frozen=True)
class AggregateQuery:
    """What a request for an aggregate asks for."""

    groups: tuple[Group, ...] = ()
    measures: tuple[Measure, ...] = (Measure("count"),)
    filters: tuple[Filter, ...] = ()
    values: tuple[Any, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()  # (name of a group or measure, descending)
    limit: int = LIMIT_DEFAULT
    cursor: str | None = None
    at: int | datetime | None = None
    epoch: str | None = None
    timezone: str = "UTC"


class AggregateValidator:
    """Reads the query strings of a dataset's aggregates, as one caller may see it."""

    def __init__(self, validator: Validator) -> None:
        self.validator = validator
        self.readers: dict[str, Reader] = {
            **validator.filter_readers(),
            "group_by": ListReader(self.read_groups),
            "measure": ListReader(self.read_measures),
            "sort": ListReader(self.read_sort),
            "timezone": read_timezone,
            "limit": read_limit,
            "cursor": read_cursor,
            "at": read_at,
            "epoch": read_epoch,
        }

    def parse(self, query_string: bytes) -> AggregateQuery:
        """The query that a raw query string asks for; Problem for the first parameter that is wrong."""
        draft = read_draft(query_string, self.readers)
        query = AggregateQuery(filters=draft.filters, values=draft.values, **draft.facts)
        names = [group.name for group in query.groups] + [measure.name for measure in query.measures]
        if len(set(names)) < len(names):
            raise parameter_problem("duplicate_parameter", "measure", "duplicate name of a column")
        for name, _ in query.sort:
            if name not in names:
                near = closest(name, names) or names
                raise parameter_problem("invalid_value", "sort", f"{name!r} is neither a group nor a measure", near)
        return query

    def read_groups(self, name: str, members: list[str], draft: Draft) -> None:
        """`carrier,month(scheduled_departure)`."""
        groups = []
        for part in self.split(name, members):
            found = GROUP_TEXT.fullmatch(part)
            bucket, inner, plain = found.groups() if found else (None, None, part)
            prop = self.validator.find(name, inner or plain)
            if bucket is not None:
                offered = prop.type.buckets
                if bucket not in offered:
                    said = f"{prop.name} is not a date or time" if not offered else f"unknown bucket {bucket!r}"
                    raise parameter_problem("invalid_value", name, said, offered)
            elif not EQUAL.applies(prop.type):
                raise parameter_problem("invalid_value", name, f"{prop.name} cannot be used as a group")
            groups.append(Group(prop.name, bucket))
        draft.facts["groups"] = tuple(dict.fromkeys(groups))

    def read_measures(self, name: str, members: list[str], draft: Draft) -> None:
        """`count,avg:departure_delay`."""
        measures = []
        for part in self.split(name, members):
            function, _, inner = part.partition(":")
            if function not in MEASURES:
                raise parameter_problem("invalid_value", name, f"unknown function {function!r}", MEASURES)
            if not inner and function != "count":
                raise parameter_problem("invalid_value", name, f"{function} needs a property: {function}:property")
            prop = self.validator.find(name, inner) if inner else None
            if prop is not None and not is_measured(function, prop):
                raise parameter_problem("invalid_value", name, f"{function} is not available for {prop.name}")
            measures.append(Measure(function, prop.name if prop else None))
        draft.facts["measures"] = tuple(dict.fromkeys(measures))

    def read_sort(self, name: str, members: list[str], draft: Draft) -> None:
        """`-count,carrier`: names of groups and measures; judged when these are known."""
        order = [(part.removeprefix("-"), part.startswith("-")) for part in self.split(name, members)]
        if len({part for part, _ in order}) < len(order):
            raise parameter_problem("duplicate_parameter", name, "duplicate name")
        draft.facts["sort"] = tuple(order)

    def split(self, name: str, members: list[str]) -> list[str]:
        """The members of a list that names properties, of which there are not too many."""
        parts = split_names(members, self.validator.usable)
        if len(parts) > PARTS_MAXIMUM:
            raise Problem("query_too_complex", f"{name} has at most {PARTS_MAXIMUM} members.")
        return parts


def is_measured(function: str, prop: Property) -> bool:
    """Whether a measure means something for a property."""
    if function in NUMERIC_MEASURES:
        return prop.type.is_number
    if function in ORDERED_MEASURES:
        return prop.type.ranged
    return function == "count" or EQUAL.applies(prop.type)


def read_timezone(name: str, value: str, draft: Draft) -> None:
    """The zone in which days begin, such as Europe/Amsterdam."""
    if value not in timezones():
        raise parameter_problem("invalid_value", name, "unknown time zone", closest(value, timezones()))
    draft.facts["timezone"] = value


@cache
def timezones() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(available_timezones())
