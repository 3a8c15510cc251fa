"""Which type a property has: by its `logicalType`, or its `physicalType` where that is on our list. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from catalog.types.logical_formats import WIDE_FORMATS
from catalog.types.parametrized_types import (
    NUMERIC_MAX_PRECISION,
    SAFE_INTEGER,
    array_type,
    integer_type,
    numeric_type,
)
from catalog.types.property_type import PropertyType
from catalog.types.property_types import (
    ARRAY,
    BOOLEAN,
    DATE,
    LOCAL_TIMESTAMP,
    NUMBER,
    OBJECT,
    STRING,
    TIME,
    TIMESTAMP,
    UUID,
)

SMALLINT = (-(2**15), 2**15 - 1)
INTEGER = (-(2**31), 2**31 - 1)
BIGINT = (-(2**63), 2**63 - 1)
# JSON readers keep every digit of a plain integer: a property that needs more has another type, and gets text.
INTEGER_TYPE = integer_type("integer", "bigint", BIGINT, (-SAFE_INTEGER, SAFE_INTEGER))
BIGINT_TYPE = integer_type("integer", "bigint", BIGINT)
LOGICAL_TYPES: dict[str, PropertyType] = {
    "string": STRING,
    "integer": INTEGER_TYPE,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "date": DATE,
    "time": TIME,
    "timestamp": TIMESTAMP,
    "object": OBJECT,
    "array": ARRAY,
}
ITEM_LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "time", "timestamp")
# The physicalTypes that mean something to us, by logicalType and name; others name the source's type.
PHYSICAL_TYPES: dict[tuple[str, str], PropertyType] = {
    ("integer", "smallint"): integer_type("smallint", "smallint", SMALLINT),
    ("integer", "integer"): integer_type("integer", "integer", INTEGER),
    ("integer", "int"): integer_type("integer", "integer", INTEGER),
    ("integer", "bigint"): BIGINT_TYPE,
    ("number", "double precision"): NUMBER,
    ("number", "double"): NUMBER,
    ("string", "text"): STRING,
    ("string", "uuid"): UUID,
    ("object", "jsonb"): OBJECT,
    ("array", "jsonb"): ARRAY,
    ("boolean", "boolean"): BOOLEAN,
    ("date", "date"): DATE,
    ("time", "time"): TIME,
    ("timestamp", "timestamptz"): TIMESTAMP,
    ("timestamp", "timestamp"): LOCAL_TIMESTAMP,
}
NUMERIC_TYPE = re.compile(r"(?:numeric|decimal)\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.IGNORECASE)


def resolve_type(
    logical: str, physical: str | None, options: dict[str, Any], item: str | None = None
) -> tuple[PropertyType, bool]:
    """The entry for a property, and whether its `physicalType` was understood.

    A physicalType that is not on our list names the source's type; the default is used then. `item` is the
    logicalType of an array's items.
    """
    chosen = LOGICAL_TYPES[logical]
    if logical == "timestamp" and options.get("timezone") is False:
        chosen = LOCAL_TIMESTAMP
    if physical is None:
        wide = WIDE_FORMATS.get(str(options.get("format"))) if logical == "integer" else None
        return numeric_type(wide, 0, whole=True) if wide else chosen, True
    name = physical.strip().lower()
    if logical == "array" and name.endswith("[]"):
        element = name.removesuffix("[]")
        found = find_item_logical(element, item)
        return (array_type(resolve_type(found, element, {})[0]), True) if found else (chosen, False)
    if logical in {"number", "integer"} and (match := NUMERIC_TYPE.fullmatch(name)):
        precision, scale = int(match[1]), int(match[2] or 0)
        if 1 <= precision <= NUMERIC_MAX_PRECISION and scale <= precision:
            return numeric_type(precision, scale, whole=logical == "integer"), True
        return chosen, False
    known = PHYSICAL_TYPES.get((logical, name))
    if known is None:
        return chosen, False
    if name == "bigint" and not has_safe_bounds(options):
        return replace(known, json_schema={"type": "string", "pattern": "^-?[0-9]+$"}, json_as_text=True), True
    return known, True


def find_item_logical(physical: str, logical: str | None) -> str | None:
    """The logicalType of the items of a Postgres array; None where it would not keep them as what they are."""
    for candidate in (logical,) if logical else ITEM_LOGICAL_TYPES:
        if candidate in ITEM_LOGICAL_TYPES and resolve_type(candidate, physical, {})[1]:
            return candidate
    return None


def has_safe_bounds(options: dict[str, Any]) -> bool:
    """Whether the rules keep every value where JSON readers keep every digit."""
    lowest = options.get("minimum", options.get("exclusiveMinimum"))
    highest = options.get("maximum", options.get("exclusiveMaximum"))
    if not isinstance(lowest, int | float) or not isinstance(highest, int | float):
        return False
    return lowest >= -SAFE_INTEGER and highest <= SAFE_INTEGER
