"""What an address of the explorer asks: parameters of the API as they stand in it, and a view. Pure.

Values stay percent-encoded: a comma that is encoded belongs to a value, one that is not separates two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus

VIEWS = ("table", "bar", "line", "histogram", "heat", "multiples")
VIEW = "view"
FACET = "facet"  # the property whose values are counted under the filters
FACET_TIME = "facet_time"  # `full`: however long that takes
OF_PAGE = frozenset({VIEW, FACET, FACET_TIME})  # not of the API's question
AGGREGATE = frozenset({"group_by", "measure", "timezone"})
OF_RECORDS = frozenset({"properties", "expand", "count", "sort"})  # leave one that becomes an aggregate
OF_WALKS = frozenset({"cursor", "limit", FACET_TIME})  # leave an address whose question changes
# The order of an address; filters come first, as they are written.
ORDER = (
    *("q", "group_by", "measure", "sort", "properties", "expand", "timezone"),
    *("limit", "count", "at", "epoch", "cursor", VIEW, FACET, FACET_TIME),
)
SAFE = "[]():-._~"
OPERATOR = re.compile(r"(.*)\[([a-z]+)\]")

Part = tuple[str, str]  # decoded name, encoded value


@dataclass(frozen=True)
class Condition:
    """A filter as people read it."""

    text: str
    part: Part


@dataclass(frozen=True)
class Exploration:
    """The parameters of an address."""

    parts: tuple[Part, ...] = ()

    @classmethod
    def read(cls, query_string: str) -> Exploration:
        """The parameters of a query string; empty ones are none."""
        found = []
        for part in query_string.split("&"):
            name, _, value = part.partition("=")
            if name and (value or is_filter(unquote_plus(name))):
                found.append((unquote_plus(name), value))
        return cls.of(found)

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Exploration:
        """These parameters, in the order of an address."""
        return cls(tuple(sorted(parts, key=lambda part: ORDER.index(part[0]) + 1 if part[0] in ORDER else 0)))

    @property
    def is_aggregate(self) -> bool:
        """Whether groups or measures are asked for, rather than records."""
        return any(name in AGGREGATE for name, _ in self.parts)

    @property
    def query(self) -> str:
        """The query string of the API's question: without the view and the facet."""
        return write_parts(part for part in self.parts if part[0] not in OF_PAGE)

    @property
    def address(self) -> str:
        """The query string of the explorer's address."""
        return write_parts(self.parts)

    @property
    def filters(self) -> list[Condition]:
        """The conditions, a text search included."""
        found = []
        for part in self.parts:
            name, value = part
            if name in ORDER and name != "q":
                continue
            shown = unquote_plus(value)
            operator = OPERATOR.fullmatch(name)
            if name == "q":
                found.append(Condition(f"contains “{shown}”", part))
            elif operator:
                found.append(Condition(f"{operator[1]} {SIGNS.get(operator[2], operator[2])} {shown}", part))
            else:
                found.append(Condition(f"{name} = {shown}", part))
        return found

    @property
    def export_query(self) -> str:
        """The filters and the revision, for exports."""
        pinned = [part for part in self.parts if part[0] in {"at", "epoch"}]
        return write_parts([*(condition.part for condition in self.filters), *pinned])

    def values(self, name: str) -> list[str]:
        """The decoded members of a list parameter; commas within parentheses belong to a member."""
        text = ",".join(value for each, value in self.parts if each == name)
        return [unquote_plus(member) for member in re.split(r",(?![^(]*\))", text) if member]

    def value(self, name: str) -> str | None:
        """The decoded value of a parameter that has one."""
        return next((unquote_plus(value) for each, value in self.parts if each == name), None)

    def without(self, *parts: Part) -> Exploration:
        """The same without these parameters, on its first page."""
        kept = [part for part in self.parts if part not in parts and part[0] not in OF_WALKS]
        return Exploration(tuple(kept))

    def set(self, name: str, value: str | None) -> Exploration:
        """The same with another encoded value of a parameter; None leaves it out."""
        stays = name in OF_WALKS | OF_PAGE
        kept = [part for part in self.parts if part[0] != name and (stays or part[0] not in OF_WALKS)]
        return Exploration.of([*kept, (name, value)] if value else kept)

    def without_filters_of(self, prop: str) -> Exploration:
        """The same without the conditions on a property, on its first page."""
        return self.without(*[c.part for c in self.filters if c.part[0] != "q" and property_of(c.part[0]) == prop])

    def add(self, name: str, value: str) -> Exploration:
        """The same with one more parameter, on its first page."""
        return Exploration.of([*self.without().parts, (name, value)])


def property_of(name: str) -> str:
    """The property that the parameter of a filter is about."""
    operator = OPERATOR.fullmatch(name)
    return operator[1] if operator else name


SIGNS = {"ne": "≠", "gt": ">", "gte": "≥", "lt": "<", "lte": "≤", "in": "in", "eq": "=", "null": "is null:"}


def is_filter(name: str) -> bool:
    """Whether a parameter is a condition, whose value may be empty; an empty field of a form is none."""
    return name not in ORDER and not name.startswith("_")


def write_parts(parts: Iterable[Part]) -> str:
    """Parameters as a query string."""
    return "&".join(f"{quote(name, safe=SAFE)}={value}" for name, value in parts)


def encode_value(text: str, *, several: bool = False) -> str:
    """A value as it stands in an address; of a list, commas separate."""
    return quote(text, safe=SAFE + ("," if several else ""))
