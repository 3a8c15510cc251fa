"""One entry per kind of value: Postgres type, DuckDB type, JSON Schema, filter operators, and how text becomes it.

A property's `logicalType`, or its `physicalType` where that is on our list, chooses the entry. Two judges of text
live here side by side, on purpose: `lexical` (DuckDB SQL, for raw records) and `parse` (Python, for filter values).
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

SMALLINT = (-(2**15), 2**15 - 1)
INTEGER = (-(2**31), 2**31 - 1)
BIGINT = (-(2**63), 2**63 - 1)
SAFE_INTEGER = 2**53 - 1  # beyond it, JavaScript and many JSON readers lose digits
NUMERIC_MAX_PRECISION = 38  # DuckDB's DECIMAL, where values are judged

JSON_DEPTH = 500  # levels; Postgres' stack takes some thousands

COMPARISONS = ("eq", "ne", "in", "gt", "gte", "lt", "lte", "null")
EQUALITY = ("eq", "ne", "in", "null")
PATTERNS = ("like", "ilike")

INTEGER_TEXT = re.compile(r"[+-]?[0-9]+")
NUMBER_TEXT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
DATE_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
OFFSET = r"(Z|z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)?"  # what Postgres takes: less than 16 hours
LOCAL_TEXT = rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{CLOCK}"
TIME_TEXT = re.compile(CLOCK)
TIMESTAMP_TEXT = re.compile(LOCAL_TEXT + OFFSET)
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# DuckDB wants seconds before an offset.
WITH_SECONDS = (
    "CASE WHEN length({text}) > 16 AND substr({text}, 17, 1) <> ':'"
    " THEN substr({text}, 1, 16) || ':00' || substr({text}, 17) ELSE {text} END"
)


class InvalidValueError(ValueError):
    """A text that is not a value of the type; says what is expected."""


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

    def is_lexical(self, text: str) -> str:
        """DuckDB SQL: whether the expression `text` looks like a value."""
        return self.lexical.replace("{text}", text)

    def cast_text(self, text: str) -> str:
        """DuckDB SQL: the value of the expression `text`, null where it is out of range."""
        return self.cast.replace("{text}", text)


def parse_integer(bounds: tuple[int, int]) -> Callable[[str], int]:
    """A parser of whole numbers within `bounds`."""

    def parse(text: str) -> int:
        # Nineteen digits cover every bigint; longer input is refused before int() looks at it.
        short = len(text.lstrip("+-").lstrip("0")) <= 19
        if not INTEGER_TEXT.fullmatch(text) or not short or not bounds[0] <= int(text) <= bounds[1]:
            raise InvalidValueError(f"expected a whole number from {bounds[0]} to {bounds[1]}")
        return int(text)

    return parse


def parse_number(text: str) -> float:
    """A finite number."""
    value = float(text) if NUMBER_TEXT.fullmatch(text) else math.inf
    if math.isinf(value):
        raise InvalidValueError("expected a finite number such as 12.5")
    return value


def parse_numeric(text: str) -> Decimal:
    """An exact decimal number."""
    try:
        value = Decimal(text) if NUMBER_TEXT.fullmatch(text) and len(text) <= 100 else None
    except InvalidOperation:
        value = None
    # An exponent costs nothing to write and a gigabyte to expand.
    if value is None or abs(value.adjusted()) > 1000:
        raise InvalidValueError("expected a decimal number such as 12.50")
    return value


def parse_text(text: str) -> str:
    """The text itself; Postgres stores no NUL."""
    if "\0" in text:
        raise InvalidValueError("text cannot hold a NUL character")
    return text


def parse_boolean(text: str) -> bool:
    """true, false, 1 or 0, in any case."""
    if text.lower() not in {"true", "false", "1", "0"}:
        raise InvalidValueError("expected true or false")
    return text.lower() in {"true", "1"}


def parse_date(text: str) -> date:
    """A day, YYYY-MM-DD, years 1 to 9999."""
    try:
        if DATE_TEXT.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidValueError("expected a date such as 2013-01-31")


def parse_time(text: str) -> time:
    """A time of day."""
    try:
        if TIME_TEXT.fullmatch(text):
            return time.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidValueError("expected a time such as 17:30:00")


def parse_timestamp(text: str) -> datetime:
    """A moment; one without an offset is taken as UTC."""
    try:
        if TIMESTAMP_TEXT.fullmatch(text):
            moment = datetime.fromisoformat(text.replace("z", "Z"))
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    # A plus sign in a URL means a space; whoever forgot to encode it is told so by the example.
    raise InvalidValueError("expected a timestamp such as 2013-01-31T17:30:00Z (encode + as %2B)")


def parse_local_timestamp(text: str) -> datetime:
    """A date and time without a time zone."""
    moment = parse_timestamp(text)
    if not re.fullmatch(r".*[T ][0-9:.]+", text):
        raise InvalidValueError("expected a timestamp without a time zone such as 2013-01-31T17:30:00")
    return moment.replace(tzinfo=None)


def parse_uuid(text: str) -> uuid.UUID:
    """A UUID in its usual form."""
    if not UUID_TEXT.fullmatch(text):
        raise InvalidValueError("expected a UUID such as 6f1e2d3c-0000-4000-8000-000000000000")
    return uuid.UUID(text)


def in_range(value: str, kind: str, zone: str) -> str:
    """DuckDB SQL: a moment in the years 1 to 9999, else null."""
    return (
        f"CASE WHEN {value} >= {kind} '0001-01-01 00:00:00{zone}'"
        f" AND {value} < {kind} '10000-01-01 00:00:00{zone}' THEN {value} END"
    )


def integer_type(name: str, postgres: str, bounds: tuple[int, int]) -> PropertyType:
    """A whole-number type within `bounds`."""
    return PropertyType(
        name=name,
        postgres=postgres,
        duckdb={"smallint": "SMALLINT", "integer": "INTEGER"}.get(postgres, "BIGINT"),
        sqlalchemy={"smallint": sa.SmallInteger(), "integer": sa.Integer()}.get(postgres, sa.BigInteger()),
        json_schema={"type": "integer"},
        operators=COMPARISONS,
        # Past 20 characters nothing fits a bigint, and DuckDB would try.
        lexical="regexp_full_match({text}, '[+-]?[0-9]+')",
        cast="TRY_CAST({text} AS " + {"smallint": "SMALLINT", "integer": "INTEGER"}.get(postgres, "BIGINT") + ")",
        parse=parse_integer(bounds),
        expected=f"a whole number from {bounds[0]} to {bounds[1]}",
    )


def numeric_type(precision: int, scale: int) -> PropertyType:
    """An exact decimal type; its JSON form is a string, since a JSON number would lose digits."""
    decimal = f"DECIMAL({precision},{scale})"
    # DuckDB and Postgres round what has more decimals than the scale; a silent change of money is refused.
    fits = r"^[+-]?[0-9]*(\.[0-9]{0," + str(scale) + r"}0*)?$"
    return PropertyType(
        name="numeric",
        postgres=f"numeric({precision},{scale})",
        duckdb=decimal,
        sqlalchemy=sa.Numeric(precision, scale),
        json_schema={"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
        operators=COMPARISONS,
        lexical=r"regexp_full_match({text}, '[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)') AND regexp_matches({text}, '"
        + fits
        + "')",
        cast="TRY_CAST({text} AS " + decimal + ")",
        parse=parse_numeric,
        expected=f"a decimal number of at most {precision} digits, {scale} of them decimals",
        json_as_text=True,
    )


def plain_json(kind: str) -> str:
    """DuckDB SQL: whether {text} is JSON of a kind that Postgres stores.

    DuckDB also reads NaN, trailing commas and numbers of any size; Postgres would refuse the whole COPY for one.
    """
    # What is left without strings: structure and numbers.
    bare = r"""regexp_replace({text}, '"([^"\\]|\\.)*"', '""', 'g')"""
    # Pairs of surrogates are characters; one alone is none, and neither is NUL.
    escapes = r"regexp_replace(replace({text}, '\\', ''), '(?i)\\ud[89ab]..\\ud[c-f]..', '', 'g')"
    brackets = f"regexp_replace({bare}, '[^][{{}}]', '', 'g')"
    step = "{'d': CASE WHEN c IN ('[', '{') THEN 1 ELSE -1 END, 'm': 0}"
    steps = f"list_transform(string_split({brackets}, ''), lambda c: {step})"
    depth = (
        f"list_reduce(list_concat([{{'d': 0, 'm': 0}}], {steps}),"
        " lambda a, b: {'d': a.d + b.d, 'm': greatest(a.m, a.d + b.d)}).m"
    )
    return (
        "CASE WHEN NOT json_valid({text}) THEN FALSE"
        # Most values show at one look that there is nothing to look for.
        f" WHEN json_type({{text}}) = '{kind}' AND length({{text}}) < {2 * JSON_DEPTH}"
        " AND NOT contains({text}, chr(0))"
        r" AND NOT regexp_matches({text}, '(?i)nan|inf|[0-9]e|[0-9]{300}|,\s*[]}]|\\u') THEN TRUE"
        f" WHEN json_type({{text}}) <> '{kind}' OR contains({{text}}, chr(0)) THEN FALSE"
        f" WHEN regexp_matches({escapes}, '(?i)\\\\u(0000|d[89a-f])') THEN FALSE"
        f" WHEN regexp_matches({bare}, '(?i)nan|inf|[eE][+-]?0*[1-9][0-9]{{3}}|[0-9]{{300}}|,\\s*[]}}]') THEN FALSE"
        f" WHEN length({brackets}) > {2 * JSON_DEPTH} THEN {depth} <= {JSON_DEPTH} ELSE TRUE END"
    )


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
)
TIMESTAMP = PropertyType(
    name="timestamp",
    postgres="timestamptz",
    duckdb="TIMESTAMPTZ",
    sqlalchemy=pg.TIMESTAMP(timezone=True),
    json_schema={"type": "string", "format": "date-time"},
    operators=COMPARISONS,
    lexical="regexp_full_match({text}, '" + LOCAL_TEXT + OFFSET + "') AND {text} >= '0001'",
    cast=in_range("TRY_CAST(upper(" + WITH_SECONDS + ") AS TIMESTAMPTZ)", "TIMESTAMPTZ", "+00"),
    parse=parse_timestamp,
    expected="a timestamp such as 2013-01-31T17:30:00Z",
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
)
OBJECT = PropertyType(
    name="object",
    postgres="jsonb",
    duckdb="JSON",
    sqlalchemy=pg.JSONB(),
    json_schema={"type": "object"},
    operators=("null",),
    lexical=plain_json("OBJECT"),
    cast="CAST(json({text}) AS JSON)",
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


def resolve_type(logical: str, physical: str | None, options: dict[str, Any]) -> tuple[PropertyType, bool]:
    """The entry for a property, and whether its `physicalType` was understood.

    A physicalType that is not on our list names the source's type; the default is used then.
    """
    chosen = LOGICAL_TYPES[logical]
    if logical == "timestamp" and options.get("timezone") is False:
        chosen = LOCAL_TIMESTAMP
    if physical is None:
        return chosen, True
    if logical in {"number", "integer"} and (match := NUMERIC_TYPE.fullmatch(physical.strip())):
        precision, scale = int(match[1]), int(match[2] or 0)
        if 1 <= precision <= NUMERIC_MAX_PRECISION and scale <= precision:
            return numeric_type(precision, scale), True
        return chosen, False
    known = PHYSICAL_TYPES[logical].get(physical.strip().lower())
    if known is None:
        return chosen, False
    if known.postgres == "bigint" and physical.strip().lower() == "bigint" and not has_safe_bounds(options):
        return replace(known, json_schema={"type": "string", "pattern": "^-?[0-9]+$"}, json_as_text=True), True
    return known, True


def has_safe_bounds(options: dict[str, Any]) -> bool:
    """Whether the rules keep every value where JSON readers keep every digit."""
    lowest = options.get("minimum", options.get("exclusiveMinimum"))
    highest = options.get("maximum", options.get("exclusiveMaximum"))
    return lowest is not None and highest is not None and lowest >= -SAFE_INTEGER and highest <= SAFE_INTEGER
