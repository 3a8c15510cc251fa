"""The operators of filters: each once, with all that parser, SQL, OpenAPI and documents need of it. Pure.

A new one is an entry of `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from catalog.types.property_type import PropertyType
from catalog.types.value_parsers import InvalidValueError, TooManyValuesError

IN_VALUES_MAXIMUM = 200
PATTERN_MAXIMUM_CHARACTERS = 128

Column = Any  # of SQLAlchemy: a table's column, whose operators depend on its type
Condition = sa.ColumnElement[bool]
Schema = dict[str, Any]


def parse_one(kind: PropertyType, members: Sequence[str]) -> Any:
    """The value of a parameter that has one."""
    return kind.parse(members[0])


def own_type(kind: PropertyType) -> sa.types.TypeEngine[Any]:
    """The type of a parameter that has one value of the property."""
    return kind.sqlalchemy


def describe_value(kind: PropertyType) -> Schema:
    """The JSON Schema of a value as a parameter has it: more forms are taken than are given."""
    return {key: value for key, value in kind.json_schema.items() if key != "pattern" or kind.json_as_text}


def describe_one(kind: PropertyType, examples: Sequence[Any]) -> Schema:
    """The JSON Schema of a parameter that has one value of the property."""
    return describe_value(kind) | ({"examples": [examples[0]]} if examples else {})


def is_compared(kind: PropertyType) -> bool:
    """Whether two values can be compared for equality: all but documents and arrays."""
    return kind.ordered


def is_ranged(kind: PropertyType) -> bool:
    """Whether values have an order that means something."""
    return kind.ranged


@dataclass(frozen=True)
class Operator:
    """One operator: `property[key]=value`."""

    key: str
    help: str  # ends a sentence that begins with the property
    applies: Callable[[PropertyType], bool]
    compile: Callable[[Column, sa.ColumnElement[Any]], Condition]  # over a column and the bound value
    parse: Callable[[PropertyType, Sequence[str]], Any] = parse_one  # InvalidValueError, TooManyValuesError
    bound_type: Callable[[PropertyType], sa.types.TypeEngine[Any]] = own_type
    describe: Callable[[PropertyType, Sequence[Any]], Schema] = describe_one  # its JSON Schema, with examples
    several: bool = False  # values separated by commas
    keeps_plan: bool = False  # narrows a query alike whatever its value: one plan serves all


def parse_list(kind: PropertyType, members: Sequence[str]) -> list[Any]:
    """Several values."""
    if len(members) > IN_VALUES_MAXIMUM:
        raise TooManyValuesError(f"[in] takes at most {IN_VALUES_MAXIMUM} values.")
    found = []
    for text in members:
        try:
            found.append(kind.parse(text))
        except InvalidValueError as error:
            hint = "; encode a comma within a value as %2C, but not a separating comma" if "," in text else ""
            raise InvalidValueError(f"{error}{hint}") from None
    return found


def describe_list(kind: PropertyType, examples: Sequence[Any]) -> Schema:
    """The JSON Schema of several values."""
    several = {"type": "array", "items": describe_value(kind), "maxItems": IN_VALUES_MAXIMUM}
    return several | ({"examples": [list(examples[:2])]} if examples else {})


def parse_item(kind: PropertyType, members: Sequence[str]) -> list[Any]:
    """One item of an array."""
    return [(kind.item or kind).parse(members[0])]


def describe_item(kind: PropertyType, examples: Sequence[Any]) -> Schema:
    """The JSON Schema of one item."""
    return (kind.item or kind).json_schema


def parse_pattern(kind: PropertyType, members: Sequence[str]) -> str:
    """A pattern in which * matches any text, as LIKE has it."""
    if len(members[0]) > PATTERN_MAXIMUM_CHARACTERS:
        raise TooManyValuesError(f"A pattern has at most {PATTERN_MAXIMUM_CHARACTERS} characters.")
    escaped = members[0].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%")


def describe_pattern(kind: PropertyType, examples: Sequence[Any]) -> Schema:
    """The JSON Schema of a pattern."""
    pattern: Schema = {"type": "string", "maxLength": PATTERN_MAXIMUM_CHARACTERS}
    return pattern | ({"examples": [f"{str(examples[0])[:1]}*"]} if examples else {})


def parse_truth(kind: PropertyType, members: Sequence[str]) -> bool:
    """True or false."""
    word = members[0].lower()
    if word not in {"true", "false"}:
        raise InvalidValueError("expected true or false")
    return word == "true"


def list_type(kind: PropertyType) -> sa.types.TypeEngine[Any]:
    """The type of several values."""
    return postgresql.ARRAY(kind.sqlalchemy)


EQUAL = Operator("eq", "equal to", is_compared, lambda column, value: column == value, keeps_plan=True)
OPERATORS: list[Operator] = [
    EQUAL,
    Operator("ne", "not equal to (records without a value do not match)", is_compared, lambda c, v: c != v),
    Operator(
        "in",
        "one of several values, separated by commas; a comma within a value is encoded as %2C",
        is_ranged,
        lambda column, value: column == sa.any_(value),
        parse=parse_list,
        bound_type=list_type,
        describe=describe_list,
        several=True,
    ),
    Operator(
        "has",
        "an array that contains this value",
        lambda kind: kind.item is not None,
        # Contains, rather than `= ANY`: only this is answered by an index.
        lambda column, value: column.contains(value),
        parse=parse_item,
        describe=describe_item,
    ),
    Operator("gt", "greater than", is_ranged, lambda column, value: column > value),
    Operator("gte", "greater than or equal to", is_ranged, lambda column, value: column >= value),
    Operator("lt", "less than", is_ranged, lambda column, value: column < value),
    Operator("lte", "less than or equal to", is_ranged, lambda column, value: column <= value),
    Operator(
        "null",
        "true: has no value; false: has a value",
        lambda kind: True,
        lambda column, value: column.is_(None) == value,
        parse=parse_truth,
        bound_type=lambda kind: sa.Boolean(),
        describe=lambda kind, examples: {"type": "boolean"},
    ),
    Operator(
        "like",
        "matches a pattern in which * matches any text",
        lambda kind: kind.family == "text",
        lambda column, value: column.like(value),
        parse=parse_pattern,
        describe=describe_pattern,
    ),
    Operator(
        "ilike",
        "the same, case-insensitive",
        lambda kind: kind.family == "text",
        lambda column, value: column.ilike(value),
        parse=parse_pattern,
        describe=describe_pattern,
    ),
]


def operators_of(kind: PropertyType) -> tuple[str, ...]:
    """The keys of the operators that a type has."""
    return tuple(operator.key for operator in OPERATORS if operator.applies(kind))


def find_operator(key: str) -> Operator:
    """The operator of that key, which is one of them."""
    return next(operator for operator in OPERATORS if operator.key == key)
