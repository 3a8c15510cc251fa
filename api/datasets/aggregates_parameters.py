"""The query string of an aggregate -> AggregateQuery. Pure.

`group_by=carrier,month(scheduled_departure),bin(distance,250)&measure=count,avg:departure_delay`, with the filters of
the records.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
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
BIN = "bin"
BIN_TEXT = re.compile(r"(-?bin)\((.+),([^,]*)\)")
# As many digits as the widest column of numbers has; more would only make the arithmetic dear.
WIDTH_TEXT = re.compile(r"[0-9]{1,38}(?:\.[0-9]{1,38})?")


@dataclass(frozen=True)
class Group:
    """One thing to group by: a property, the time bucket of one, or its bins of equal width."""

    of: str
    bucket: str | None = None
    width: str | None = None  # of a bin: digits, and a point where there is a fraction

    @property
    def name(self) -> str:
        """What it is called in the answer."""
        if self.width:
            return f"{BIN}({self.of},{self.width})"
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
        """`carrier,month(scheduled_departure),bin(distance,250)`."""
        groups = []
        for part in self.split(name, members):
            if part.startswith(f"{BIN}(") and part not in self.validator.usable:
                groups.append(self.read_bin(name, part))
                continue
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

    def read_bin(self, name: str, part: str) -> Group:
        """`bin(distance,250)`."""
        found = BIN_TEXT.fullmatch(part)
        if found is None:
            raise parameter_problem("invalid_value", name, "a bin has a property and a width, as bin(distance,250)")
        prop = self.validator.find(name, found[2])
        if not prop.type.is_number:
            raise parameter_problem("invalid_value", name, f"{prop.name} is no number")
        width = write_width(found[3])
        if width is None:
            raise parameter_problem("invalid_value", name, f"{found[3]!r} is no width above 0, such as 250 or 0.5")
        if prop.logical_type == "integer" and "." in width:
            raise parameter_problem(
                "invalid_value", name, f"{prop.name} holds whole numbers: so is the width of its bins"
            )
        return Group(prop.name, BIN, width)

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
        order = [(name_sorted(part), part.startswith("-")) for part in self.split(name, members)]
        if len({part for part, _ in order}) < len(order):
            raise parameter_problem("duplicate_parameter", name, "duplicate name")
        draft.facts["sort"] = tuple(order)

    def split(self, name: str, members: list[str]) -> list[str]:
        """The members of a list that names properties, of which there are not too many."""
        parts = join_bins(split_names(members, self.validator.usable), self.validator.usable)
        if len(parts) > PARTS_MAXIMUM:
            raise Problem("query_too_complex", f"{name} has at most {PARTS_MAXIMUM} members.")
        return parts


def join_bins(parts: Iterable[str], known: Container[str]) -> list[str]:
    """The members of a list with the bins whole: the comma within `bin(distance,250)` separates no members."""
    joined: list[str] = []
    is_open = False
    for part in parts:
        if is_open:
            joined[-1] += f",{part}"
            is_open = False
            continue
        joined.append(part)
        begun = part.removeprefix("-").startswith(f"{BIN}(") and not BIN_TEXT.fullmatch(part)
        is_open = begun and part.removeprefix("-") not in known
    return joined


def write_width(text: str) -> str | None:
    """The width of bins in its shortest form, so that one width makes one question; None where it is none."""
    if not WIDTH_TEXT.fullmatch(text) or not Decimal(text):
        return None
    whole, _, fraction = text.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def name_sorted(part: str) -> str:
    """The name of the group or measure that a member of `sort` means."""
    found = BIN_TEXT.fullmatch(part)
    width = write_width(found[3]) if found else None
    return f"{BIN}({found[2]},{width})" if found and width else part.removeprefix("-")


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
