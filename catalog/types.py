"""One entry per kind of value: Postgres type, DuckDB type, JSON Schema, filter operators, and how text becomes it.

A property's `logicalType`, or its `physicalType` where that is on our list, chooses the entry. Two judges of text
live side by side, on purpose: `value_of` (DuckDB SQL, for raw records) and `parse` (Python, for filter values).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from catalog.formats import WIDE_FORMATS
from catalog.json_text import plain_json
from catalog.moments import MomentPattern, compile_pattern, zoned
from catalog.texts import (
    CLOCK,
    LOCAL_TEXT,
    OFFSET,
    InvalidValueError,
    parse_boolean,
    parse_date,
    parse_integer,
    parse_local_timestamp,
    parse_number,
    parse_numeric,
    parse_text,
    parse_time,
    parse_timestamp,
    parse_uuid,
)

__all__ = ["InvalidValueError", "PropertyType", "parse_timestamp", "resolve_type"]

SMALLINT = (-(2**15), 2**15 - 1)
INTEGER = (-(2**31), 2**31 - 1)
BIGINT = (-(2**63), 2**63 - 1)
SAFE_INTEGER = 2**53 - 1  # beyond it, JavaScript and many JSON readers lose digits
NUMERIC_MAX_PRECISION = 38  # DuckDB's DECIMAL, where values are judged

COMPARISONS = ("eq", "ne", "in", "gt", "gte", "lt", "lte", "null")
EQUALITY = ("eq", "ne", "in", "null")
PATTERNS = ("like", "ilike")

# DuckDB wants seconds before an offset.
WITH_SECONDS = (
    "CASE WHEN length({text}) > 16 AND substr({text}, 17, 1) <> ':'"
    " THEN substr({text}, 1, 16) || ':00' || substr({text}, 17) ELSE {text} END"
)
ANY_OFFSET = f"TRY_CAST(upper({WITH_SECONDS}) AS TIMESTAMPTZ)"
UTC_TEXT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z?"


@dataclass(frozen=True)
class PropertyType:
    """How one kind of value is stored, judged, filtered and shown."""

    name: str
    postgres: str
    duckdb: str
    sqlalchemy: sa.types.TypeEngine[Any]
    json_schema: dict[str, Any]
    operators: tuple[str, ...]
    lexical: str  # DuckDB SQL over {text}: true where the text looks like a value
    cast: str  # DuckDB SQL over {text}: the value, or null where it is out of range
    parse: Callable[[str], Any]
    expected: str  # what a reader of an error message should have sent
    json_as_text: bool = False  # numbers that JSON readers would corrupt leave as strings
    ordered: bool = True
    shortcut: str = ""  # DuckDB SQL over {text}: the value of usual texts, sooner; null where it is not sure
    item: PropertyType | None = None  # of a Postgres array
    pattern: MomentPattern | None = None  # the only form that raw texts may have
    zone: str = "UTC"  # of moments whose text names no offset

    def is_lexical(self, text: str) -> str:
        """DuckDB SQL: whether the expression `text` looks like a value."""
        return self.lexical.replace("{text}", text)

    def cast_text(self, text: str) -> str:
        """DuckDB SQL: the value of the expression `text`, null where it is out of range."""
        return self.cast.replace("{text}", text)

    def value_of(self, text: str) -> str:
        """DuckDB SQL: the value of the expression `text`, null where it is none."""
        value = f"CASE WHEN {self.is_lexical(text)} THEN {self.cast_text(text)} END"
        return f"coalesce({self.shortcut.replace('{text}', text)}, {value})" if self.shortcut else value


def in_range(value: str, kind: str, zone: str) -> str:
    """DuckDB SQL: a moment in the years 1 to 9999, else null."""
    return (
        f"CASE WHEN {value} >= {kind} '0001-01-01 00:00:00{zone}'"
        f" AND {value} < {kind} '10000-01-01 00:00:00{zone}' THEN {value} END"
    )


def canonical(duckdb: str, condition: str = "") -> str:
    """A shortcut for texts that are written just as DuckDB would write their value; nothing else is.

    Casting there and back costs less than a regular expression.
    """
    value = f"TRY_CAST({{text}} AS {duckdb})"
    return f"CASE WHEN CAST({value} AS VARCHAR) = {{text}}{condition.replace('{value}', value)} THEN {value} END"


def integer_type(name: str, postgres: str, bounds: tuple[int, int]) -> PropertyType:
    """A whole-number type within `bounds`."""
    duckdb = {"smallint": "SMALLINT", "integer": "INTEGER"}.get(postgres, "BIGINT")
    return PropertyType(
        name=name,
        postgres=postgres,
        duckdb=duckdb,
        sqlalchemy={"smallint": sa.SmallInteger(), "integer": sa.Integer()}.get(postgres, sa.BigInteger()),
        json_schema={"type": "integer"},
        operators=COMPARISONS,
        lexical="regexp_full_match({text}, '[+-]?[0-9]+')",
        cast=f"TRY_CAST({{text}} AS {duckdb})",
        parse=parse_integer(bounds),
        expected=f"a whole number from {bounds[0]} to {bounds[1]}",
        shortcut=canonical(duckdb),
    )


def numeric_type(precision: int, scale: int, *, whole: bool = False) -> PropertyType:
    """An exact decimal type; its JSON form is a string, since a JSON number would lose digits.

    A `whole` one is an integer of many digits: its text has no point.
    """
    decimal = f"DECIMAL({precision},{scale})"
    # DuckDB and Postgres round what has more decimals than the scale; a silent change of money is refused.
    form = r"[+-]?(?:[0-9]+(?:\.[0-9]{0,S}0*)?|\.[0-9]{1,S}0*)".replace("S", str(scale))
    if whole or scale == 0:
        form = "[+-]?[0-9]+" if whole else r"[+-]?(?:[0-9]+(?:\.0*)?|\.0+)"
    digits = f"a whole number of at most {precision} digits"
    return PropertyType(
        name="numeric",
        postgres=f"numeric({precision},{scale})",
        duckdb=decimal,
        sqlalchemy=sa.Numeric(precision, scale),
        json_schema={"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
        operators=COMPARISONS,
        lexical=f"regexp_full_match({{text}}, '{form}')",
        cast=f"TRY_CAST({{text}} AS {decimal})",
        parse=parse_numeric,
        expected=digits if whole else f"a decimal number of at most {precision} digits, {scale} of them decimals",
        json_as_text=True,
        shortcut=canonical(decimal),
    )


def boolean_type(yes: tuple[str, ...], no: tuple[str, ...]) -> PropertyType:
    """A boolean that raw records write in words of their own; filters write true and false all the same."""

    def listed(words: tuple[str, ...]) -> str:
        return ", ".join("'" + word.lower().replace("'", "''") + "'" for word in words)

    return replace(
        BOOLEAN,
        lexical=f"lower({{text}}) IN ({listed((*yes, *no))})",
        cast=f"(lower({{text}}) IN ({listed(yes)}))",
        expected=f"{' or '.join(yes)} for true, {' or '.join(no)} for false",
        shortcut="",
    )


def array_type(item: PropertyType) -> PropertyType:
    """A Postgres array of scalars. Its raw text is a JSON array; its value is what Postgres reads as an array."""
    value = item.value_of("json_extract_string(item, '$')")
    # A JSON null is no text at all, and an item that is no value is reported before anybody stores it.
    written = (
        f"""coalesce('"' || replace(replace(CAST({value} AS VARCHAR), '\\', '\\\\'), '"', '\\"') || '"', 'NULL')"""
    )
    items = f"list_transform(from_json({{text}}, '[\"JSON\"]'), lambda item: {written})"
    return replace(
        ARRAY,
        name=f"array of {item.name}",
        postgres=f"{item.postgres}[]",
        duckdb="VARCHAR",
        sqlalchemy=pg.ARRAY(item.sqlalchemy),
        json_schema={"type": "array", "items": {**item.json_schema, "type": [item.json_schema["type"], "null"]}},
        cast=f"('{{' || array_to_string({items}, ',') || '}}')",
        expected=f"a JSON array of {item.name} values",
        json_as_text=item.json_as_text,
        item=item,
    )


def refine_type(kind: PropertyType, options: dict[str, Any]) -> PropertyType:
    """The type of raw texts that have a form or a time zone of their own; MomentPatternError where they cannot."""
    zone = str(options.get("defaultTimezone") or "UTC")
    zone = "UTC" if zone in {"Etc/UTC", "Z"} or kind.name != "timestamp" else zone
    if options.get("format") is not None and kind.name in {"date", "time", "timestamp", "local timestamp"}:
        pattern = compile_pattern(str(options["format"]), kind.name, zone)
        return replace(
            kind,
            lexical=pattern.lexical,
            cast=pattern.cast,
            expected=f"a {kind.name} in the form {pattern.text}",
            shortcut="",
            pattern=pattern,
            zone=zone,
        )
    if zone != "UTC":
        local = zoned("TRY_CAST({text} AS TIMESTAMP)", zone)
        moment = f"CASE WHEN regexp_full_match({{text}}, '{LOCAL_TEXT}') THEN {local} ELSE {ANY_OFFSET} END"
        return replace(kind, cast=in_range(moment, "TIMESTAMPTZ", "+00"), shortcut="", zone=zone)
    return kind


STRING = PropertyType(
    name="string",
    postgres="text",
    duckdb="VARCHAR",
    sqlalchemy=sa.Text(),
    json_schema={"type": "string"},
    operators=(*COMPARISONS, *PATTERNS),
    lexical="NOT contains({text}, chr(0))",
    cast="{text}",
    parse=parse_text,
    expected="text",
)
NUMBER = PropertyType(
    name="number",
    postgres="double precision",
    duckdb="DOUBLE",
    sqlalchemy=sa.Double(),
    json_schema={"type": "number"},
    operators=COMPARISONS,
    lexical=r"regexp_full_match({text}, '[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?')",
    cast="CASE WHEN isfinite(TRY_CAST({text} AS DOUBLE)) THEN TRY_CAST({text} AS DOUBLE) END",
    parse=parse_number,
    expected="a finite decimal number",
    # What DuckDB reads beyond the rule has white space at an end, a plus first, or underscores between digits.
    shortcut="CASE WHEN {text} >= '-' AND right({text}, 1) BETWEEN '.' AND '9' AND NOT contains({text}, '_')"
    " AND isfinite(TRY_CAST({text} AS DOUBLE)) THEN TRY_CAST({text} AS DOUBLE) END",
)
BOOLEAN = PropertyType(
    name="boolean",
    postgres="boolean",
    duckdb="BOOLEAN",
    sqlalchemy=sa.Boolean(),
    json_schema={"type": "boolean"},
    operators=("eq", "ne", "null"),
    lexical="lower({text}) IN ('true', 'false', '1', '0')",
    cast="(lower({text}) IN ('true', '1'))",
    parse=parse_boolean,
    expected="true, false, 1 or 0",
)
DATE = PropertyType(
    name="date",
    postgres="date",
    duckdb="DATE",
    sqlalchemy=sa.Date(),
    json_schema={"type": "string", "format": "date"},
    operators=COMPARISONS,
    lexical="regexp_full_match({text}, '[0-9]{4}-[0-9]{2}-[0-9]{2}') AND {text} >= '0001'",
    cast="TRY_CAST({text} AS DATE)",
    parse=parse_date,
    expected="a date such as 2013-01-31",
    shortcut=canonical("DATE", " AND length({text}) = 10"),
)
TIME = PropertyType(
    name="time",
    postgres="time",
    duckdb="TIME",
    sqlalchemy=sa.Time(),
    json_schema={"type": "string", "pattern": r"^[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$"},
    operators=COMPARISONS,
    lexical="regexp_full_match({text}, '" + CLOCK + "')",
    cast="TRY_CAST(CASE WHEN length({text}) = 5 THEN {text} || ':00' ELSE {text} END AS TIME)",
    parse=parse_time,
    expected="a time such as 17:30:00",
    shortcut=canonical("TIME", " AND {value} < TIME '24:00:00'"),
)
TIMESTAMP = PropertyType(
    name="timestamp",
    postgres="timestamptz",
    duckdb="TIMESTAMPTZ",
    sqlalchemy=pg.TIMESTAMP(timezone=True),
    json_schema={"type": "string", "format": "date-time"},
    operators=COMPARISONS,
    lexical="regexp_full_match({text}, '" + LOCAL_TEXT + OFFSET + "') AND {text} >= '0001'",
    cast=in_range(ANY_OFFSET, "TIMESTAMPTZ", "+00"),
    parse=parse_timestamp,
    expected="a timestamp such as 2013-01-31T17:30:00Z",
    # DuckDB asks a calendar about offsets, which takes its time; UTC needs none.
    shortcut="CASE WHEN regexp_full_match({text}, '" + UTC_TEXT + "') AND {text} >= '0001'"
    " THEN " + zoned("TRY_CAST({text} AS TIMESTAMP)", "UTC") + " END",
)
LOCAL_TIMESTAMP = PropertyType(
    name="local timestamp",
    postgres="timestamp",
    duckdb="TIMESTAMP",
    sqlalchemy=pg.TIMESTAMP(timezone=False),
    json_schema={
        "type": "string",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$",
    },
    operators=COMPARISONS,
    lexical="regexp_full_match({text}, '" + LOCAL_TEXT + "') AND {text} >= '0001'",
    cast="TRY_CAST({text} AS TIMESTAMP)",
    parse=parse_local_timestamp,
    expected="a timestamp without a time zone such as 2013-01-31T17:30:00",
    shortcut=canonical(
        "TIMESTAMP",
        " AND {value} >= TIMESTAMP '0001-01-01' AND {value} < TIMESTAMP '10000-01-01' AND length({text}) > 18",
    ),
)
UUID = PropertyType(
    name="uuid",
    postgres="uuid",
    duckdb="UUID",
    sqlalchemy=pg.UUID(),
    json_schema={"type": "string", "format": "uuid"},
    operators=COMPARISONS,
    lexical="regexp_full_match({text}, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}')",
    cast="TRY_CAST({text} AS UUID)",
    parse=parse_uuid,
    expected="a UUID",
    shortcut=canonical("UUID"),
)
OBJECT = PropertyType(
    name="object",
    postgres="jsonb",
    duckdb="JSON",
    sqlalchemy=pg.JSONB(),
    json_schema={"type": "object"},
    operators=("null",),
    lexical=plain_json("OBJECT"),
    cast="{text}",
    parse=parse_text,
    expected="a JSON object",
    ordered=False,
)
ARRAY = replace(
    OBJECT,
    name="array",
    json_schema={"type": "array"},
    operators=("null",),
    lexical=plain_json("ARRAY"),
    expected="a JSON array",
)

INTEGER_TYPE = integer_type("integer", "bigint", BIGINT)
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
# Which physicalType names mean something to us, for which logicalType.
PHYSICAL_TYPES: dict[str, dict[str, PropertyType]] = {
    "integer": {
        "smallint": integer_type("smallint", "smallint", SMALLINT),
        "integer": integer_type("integer", "integer", INTEGER),
        "int": integer_type("integer", "integer", INTEGER),
        "bigint": INTEGER_TYPE,
    },
    "number": {"double precision": NUMBER, "double": NUMBER},
    "string": {"text": STRING, "uuid": UUID},
    "object": {"jsonb": OBJECT},
    "array": {"jsonb": ARRAY},
    "boolean": {"boolean": BOOLEAN},
    "date": {"date": DATE},
    "time": {"time": TIME},
    "timestamp": {"timestamptz": TIMESTAMP, "timestamp": LOCAL_TIMESTAMP},
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
        kind = find_item_type(name.removesuffix("[]"), item)
        return (array_type(kind), True) if kind else (chosen, False)
    if logical in {"number", "integer"} and (match := NUMERIC_TYPE.fullmatch(name)):
        precision, scale = int(match[1]), int(match[2] or 0)
        if 1 <= precision <= NUMERIC_MAX_PRECISION and scale <= precision:
            return numeric_type(precision, scale, whole=logical == "integer"), True
        return chosen, False
    known = PHYSICAL_TYPES[logical].get(name)
    if known is None:
        return chosen, False
    if name == "bigint" and not has_safe_bounds(options):
        return replace(known, json_schema={"type": "string", "pattern": "^-?[0-9]+$"}, json_as_text=True), True
    return known, True


def find_item_type(physical: str, logical: str | None) -> PropertyType | None:
    """The type of an array's items, or None where Postgres would keep them as something else than they are."""
    for candidate in (logical,) if logical else ITEM_LOGICAL_TYPES:
        if candidate in ITEM_LOGICAL_TYPES:
            kind, understood = resolve_type(candidate, physical.strip(), {})
            if understood:
                return kind
    return None


def has_safe_bounds(options: dict[str, Any]) -> bool:
    """Whether the rules keep every value where JSON readers keep every digit."""
    lowest = options.get("minimum", options.get("exclusiveMinimum"))
    highest = options.get("maximum", options.get("exclusiveMaximum"))
    return lowest is not None and highest is not None and lowest >= -SAFE_INTEGER and highest <= SAFE_INTEGER
