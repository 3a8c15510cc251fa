"""Columns of an answer: how they are sorted, and how their numbers are shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.portal.explorer.links import Addresses, Link, sort_link
from api.portal.explorer.question import Exploration
from api.portal.explorer.rounding import decimals_of

NUMBERS = frozenset({"smallint", "integer", "bigint", "number", "numeric"})  # types of properties
MOMENTS = frozenset({"timestamp", "local timestamp", "date"})
PRINTED_MAXIMUM = 16  # columns that a sheet of paper has room for
OF_MEASURES = 4  # digits from which thousands are separated
OF_PROPERTIES = 5  # years and short codes stay as they are


@dataclass(frozen=True)
class Column:
    """A column of the answer, with the link that sorts by it."""

    name: str
    sort: Link | None = None
    is_number: bool = False
    is_moment: bool = False
    decimals: int | None = None  # that are shown; None: all
    separated_from: int | None = None  # digits from which thousands are separated; None: never

    @property
    def look(self) -> str:
        """The class of its cells."""
        return "right" if self.is_number else "moment" if self.is_moment else ""


def columns_of(
    question: Exploration, dataset: dict[str, Any], rows: list[dict[str, Any]], addresses: Addresses
) -> list[Column]:
    """The columns of the table."""
    if question.is_aggregate:
        return aggregate_columns(question, dataset, rows, addresses)
    names = [name for name in rows[0] if name != "expanded"] if rows else []
    return record_columns(dataset, names, {name: sort_link(question, name, dataset, addresses) for name in names})


def record_columns(
    dataset: dict[str, Any], names: Sequence[str] | None = None, sorts: dict[str, Link | None] | None = None
) -> list[Column]:
    """The columns of records: those of all properties, or these."""
    types = {prop["name"]: prop["type"] for prop in dataset["properties"]}
    return [
        Column(
            name,
            (sorts or {}).get(name),
            is_number=types.get(name) in NUMBERS,
            is_moment=types.get(name) in MOMENTS,
            separated_from=OF_PROPERTIES if types.get(name) in NUMBERS and name not in dataset["key"] else None,
        )
        for name in (names if names is not None else types)
    ]


def aggregate_columns(
    question: Exploration, dataset: dict[str, Any], rows: list[dict[str, Any]], addresses: Addresses
) -> list[Column]:
    """The columns of groups and measures."""
    types = {prop["name"]: prop["type"] for prop in dataset["properties"]}
    groups, measures = split_columns(question, rows)
    decimals = decimals_of(question.values("measure"), measures, types)
    columns = []
    separated: int | None
    for group, name in zip(question.values("group_by"), groups, strict=False):
        is_bin = group.startswith("bin(")
        is_number = is_bin or types.get(group) in NUMBERS
        separated = OF_PROPERTIES if is_bin else None  # a number that is a group of its own may be a code
        link = sort_link(question, name, dataset, addresses)
        columns.append(Column(name, link, is_number, types.get(group) in MOMENTS, separated_from=separated))
    for measure, name in zip(question.values("measure") or ["count"], measures, strict=False):
        function, _, of = measure.partition(":")
        is_number = function not in {"min", "max"} or types.get(of) in NUMBERS
        link = sort_link(question, name, dataset, addresses)
        is_moment = not is_number and types.get(of) in MOMENTS
        separated = OF_MEASURES if is_number else None
        columns.append(Column(name, link, is_number, is_moment, decimals.get(name), separated))
    return columns


def many(columns: Sequence[Column]) -> str:
    """What stands below a table of so many columns where it is printed; empty where all have room."""
    if len(columns) <= PRINTED_MAXIMUM:
        return ""
    return f"The first {PRINTED_MAXIMUM} of {len(columns)} columns are printed."


def split_columns(question: Exploration, rows: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The names of groups and of measures in the rows of an aggregate."""
    names = list(rows[0]) if rows else []
    count = len(question.values("group_by"))
    return names[:count], names[count:]
