"""The operators of filters, and what a filter compares with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.http.problems import Problem
from catalog.model.dataset import Property
from catalog.types.property_types import InvalidValueError

IN_VALUES_MAXIMUM = 200
PATTERN_MAXIMUM_CHARACTERS = 128
SEARCH = "q"  # the operator of a text search, which belongs to no single property


@dataclass(frozen=True)
class Filter:
    """One condition of a query; its value travels beside it, so that filters alone name the statement."""

    property: str  # empty for a text search
    operator: str


def read_operand(prop: Property, operator: str, members: list[str]) -> Any:
    """What a filter compares with; InvalidValueError where it is not of the property's type."""
    value = members[0]
    match operator:
        case "null":
            if value.lower() not in {"true", "false"}:
                raise InvalidValueError("expected true or false")
            return value.lower() == "true"
        case "in":
            if len(members) > IN_VALUES_MAXIMUM:
                raise Problem("query_too_complex", f"[in] takes at most {IN_VALUES_MAXIMUM} values.")
            return [read_member(prop, member) for member in members]
        case "has":
            return [(prop.type.item or prop.type).parse(value)]
        case "like" | "ilike":
            if len(value) > PATTERN_MAXIMUM_CHARACTERS:
                raise Problem("query_too_complex", f"A pattern has at most {PATTERN_MAXIMUM_CHARACTERS} characters.")
            escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            return escaped.replace("*", "%")
    return prop.type.parse(value)


def read_member(prop: Property, text: str) -> Any:
    """One value of a list."""
    try:
        return prop.type.parse(text)
    except InvalidValueError as error:
        hint = "; a comma that separates values is not encoded (%2C belongs to its value)" if "," in text else ""
        raise InvalidValueError(f"{error}{hint}") from None


def describe_operators() -> Mapping[str, str]:
    """What each operator means, for documentation."""
    return {
        "eq": "equal to",
        "ne": "not equal to (a record without a value is not found)",
        "in": "one of several, separated by commas; a comma within a value is written %2C",
        "has": "an array that holds this value",
        "gt": "greater than",
        "gte": "greater than or equal to",
        "lt": "less than",
        "lte": "less than or equal to",
        "null": "true: has no value; false: has one",
        "like": "matches a pattern in which * stands for any text",
        "ilike": "the same, without regard to case",
    }
