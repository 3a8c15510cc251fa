"""One entry per kind of value: Postgres type, DuckDB type, JSON Schema, filter operators, and how text becomes it.

`catalog/types/type_choice.py` says which entry a property has. Two judges of text live side by side, on purpose:
`value_of` (DuckDB SQL, for raw records) and `parse` (Python, for filter values).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from catalog.types.canonical_json import plain_json
from catalog.types.datetime_patterns import compile_pattern, zoned
from catalog.types.property_type import (
    BUCKETS,
    CANONICAL,
    DATE_BUCKETS,
    WITH_OFFSET,
    PropertyType,
    convert_by,
    full_match,
    in_years,
    within_years,
)
from catalog.types.value_parsers import (
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

__all__ = ["InvalidValueError", "PropertyType", "parse_timestamp"]

SAFE_INTEGER = 2**53 - 1  # beyond it, JavaScript and many JSON readers lose digits
NUMERIC_MAX_PRECISION = 38  # DuckDB's DECIMAL, where values are judged

UTC_TEXT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z?"


def integer_type(
    name: str, postgres: str, limits: tuple[int, int], bounds: tuple[int, int] | None = None
) -> PropertyType:
    """A whole-number type whose column has these limits.

    With `bounds`, raw records are held to them; filters take what the column may hold from before.
    """
    duckdb = {"smallint": "SMALLINT", "integer": "INTEGER"}.get(postgres, "BIGINT")
    least, most = bounds or limits
    guard = f"{{value}} BETWEEN {least} AND {most}" if bounds else ""
    hint = " (physicalType: bigint takes larger ones)" if bounds else ""
    return PropertyType(
        name=name,
        family="number",
        postgres=postgres,
        duckdb=duckdb,
        sqlalchemy={"smallint": sa.SmallInteger(), "integer": sa.Integer()}.get(postgres, sa.BigInteger()),
        json_schema={"type": "integer", "format": "int64" if duckdb == "BIGINT" else "int32"},
        cast=f"TRY_CAST({{text}} AS {duckdb})",
        conversion=convert_by(full_match("[+-]?[0-9]+"), sure=CANONICAL, guard=guard),
        parse=parse_integer(limits),
        expected=f"a whole number from {least} to {most}{hint}",
        guard=guard or "TRUE",
        bounds=bounds,
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
        family="number",
        decimal=True,
        postgres=f"numeric({precision},{scale})",
        duckdb=decimal,
        sqlalchemy=sa.Numeric(precision, scale),
        json_schema={"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
        cast=f"TRY_CAST({{text}} AS {decimal})",
        conversion=convert_by(full_match(form), sure=CANONICAL),
        parse=parse_numeric(precision, scale),
        expected=digits if whole else f"a decimal number of at most {precision} digits, {scale} of them decimals",
        json_as_text=True,
    )


def boolean_type(yes: tuple[str, ...], no: tuple[str, ...]) -> PropertyType:
    """A boolean that raw records write in words of their own; filters write true and false all the same."""

    def listed(words: tuple[str, ...]) -> str:
        return ", ".join("'" + word.lower().replace("'", "''") + "'" for word in words)

    return replace(
        BOOLEAN,
        cast="lower({text})",
        conversion=f"CASE WHEN {{value}} IN ({listed(yes)}) THEN TRUE"
        f" WHEN {{value}} IN ({listed(no)}) THEN FALSE END",
        expected=f"{' or '.join(yes)} for true, {' or '.join(no)} for false",
    )


def array_type(item: PropertyType) -> PropertyType:
    """A Postgres array of scalars. Its raw text is a JSON array; its value is what Postgres reads as an array."""
    value = item.value_of("json_extract_string(item, '$')")
    escaped = f"replace(replace(CAST({value} AS VARCHAR), '\\', '\\\\'), '\"', '\\\"')"
    # An item that is no value is a reason to reject the record: what stands for it here is never stored.
    written = f"coalesce('\"' || {escaped} || '\"', 'NULL')"
    items = f"list_transform(from_json({{text}}, '[\"JSON\"]'), lambda item: {written})"
    return replace(
        ARRAY,
        name=f"array of {item.name}",
        arrow=True,
        postgres=f"{item.postgres}[]",
        duckdb="VARCHAR",
        sqlalchemy=pg.ARRAY(item.sqlalchemy),
        json_schema={"type": "array", "items": {**item.json_schema, "type": [item.json_schema["type"], "null"]}},
        conversion=convert_by(plain_json("ARRAY"), value=f"('{{' || array_to_string({items}, ',') || '}}')"),
        expected=f"a JSON array of {item.name} values",
        json_as_text=item.json_as_text,
        item=item,
    )


def refine_type(kind: PropertyType, options: dict[str, Any]) -> PropertyType:
    """The type of raw texts that have a form or a time zone of their own; DatetimePatternError where they cannot."""
    zone = str(options.get("defaultTimezone") or "UTC")
    zone = "UTC" if zone in {"Etc/UTC", "Z"} or kind.name != "timestamp" else zone
    if options.get("format") is not None and kind.name in {"date", "time", "timestamp", "local timestamp"}:
        pattern = compile_pattern(str(options["format"]), kind.name, zone)
        return replace(
            kind,
            cast=pattern.cast,
            conversion=convert_by(pattern.lexical, guard=kind.guard),
            expected=f"a {kind.name} in the form {pattern.text}",
            pattern=pattern,
            zone=zone,
        )
    if zone != "UTC":
        return replace(
            kind,
            conversion=f"CASE WHEN {full_match(LOCAL_TEXT)} THEN {within_years(zoned('{value}', zone))}"
            f" WHEN {full_match(LOCAL_TEXT + OFFSET)} THEN {within_years(WITH_OFFSET)} END",
            zone=zone,
        )
    return kind


STRING = PropertyType(
    name="string",
    family="text",
    plain=False,
    postgres="text",
    duckdb="VARCHAR",
    sqlalchemy=sa.Text(),
    json_schema={"type": "string"},
    cast="{text}",
    conversion=convert_by("NOT contains({text}, chr(0))", value="{text}"),
    parse=parse_text,
    expected="text",
)
NUMBER = PropertyType(
    name="number",
    family="number",
    floating=True,
    postgres="double precision",
    duckdb="DOUBLE",
    sqlalchemy=sa.Double(),
    json_schema={"type": "number", "format": "double"},
    cast="TRY_CAST({text} AS DOUBLE)",
    conversion=convert_by(
        full_match(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"),
        # What else DuckDB reads has white space at an end, a plus first, underscores between digits, or no digits.
        sure="{text} >= '-' AND substr({text}, -1) BETWEEN '.' AND '9' AND NOT contains({text}, '_')",
        guard="isfinite({value})",
    ),
    guard="isfinite({value})",
    parse=parse_number,
    expected="a finite decimal number",
)
BOOLEAN = PropertyType(
    name="boolean",
    family="boolean",
    ranged=False,
    postgres="boolean",
    duckdb="BOOLEAN",
    sqlalchemy=sa.Boolean(),
    json_schema={"type": "boolean"},
    cast="lower({text})",
    conversion="CASE WHEN {value} IN ('true', '1') THEN TRUE WHEN {value} IN ('false', '0') THEN FALSE END",
    parse=parse_boolean,
    expected="true, false, 1 or 0",
)
DATE = PropertyType(
    name="date",
    family="date",
    buckets=DATE_BUCKETS,
    excel="yyyy-mm-dd",
    postgres="date",
    duckdb="DATE",
    sqlalchemy=sa.Date(),
    json_schema={"type": "string", "format": "date"},
    cast="TRY_CAST({text} AS DATE)",
    # DuckDB writes ten characters for the days of the years 1 to 9999 and for no others.
    conversion=f"CASE WHEN length({{text}}) = 10 AND {CANONICAL} THEN {{value}} END",
    guard=in_years("DATE"),
    parse=parse_date,
    expected="a date such as 2013-01-31",
)
TIME = PropertyType(
    name="time",
    family="time",
    postgres="time",
    duckdb="TIME",
    sqlalchemy=sa.Time(),
    json_schema={"type": "string", "pattern": r"^[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$"},
    cast="TRY_CAST(CASE WHEN length({text}) = 5 THEN {text} || ':00' ELSE {text} END AS TIME)",
    conversion=convert_by(full_match(CLOCK)),
    parse=parse_time,
    expected="a time such as 17:30:00",
)
TIMESTAMP = PropertyType(
    name="timestamp",
    family="moment",
    zoned=True,
    buckets=BUCKETS,
    excel="yyyy-mm-dd hh:mm:ss",
    postgres="timestamptz",
    duckdb="TIMESTAMPTZ",
    sqlalchemy=pg.TIMESTAMP(timezone=True),
    json_schema={"type": "string", "format": "date-time"},
    cast="TRY_CAST({text} AS TIMESTAMP)",
    # DuckDB asks a calendar about offsets, which takes its time; UTC needs none.
    conversion=f"CASE WHEN {full_match(UTC_TEXT)} AND {{text}} >= '0001' THEN {zoned('{value}', 'UTC')}"
    f" WHEN {full_match(LOCAL_TEXT + OFFSET)} AND {{text}} >= '0001' THEN {within_years(WITH_OFFSET)} END",
    guard=in_years("TIMESTAMPTZ"),
    parse=parse_timestamp,
    expected="a timestamp such as 2013-01-31T17:30:00Z",
)
LOCAL_TIMESTAMP = PropertyType(
    name="local timestamp",
    family="moment",
    buckets=BUCKETS,
    excel="yyyy-mm-dd hh:mm:ss",
    postgres="timestamp",
    duckdb="TIMESTAMP",
    sqlalchemy=pg.TIMESTAMP(timezone=False),
    json_schema={
        "type": "string",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?$",
    },
    cast="TRY_CAST({text} AS TIMESTAMP)",
    conversion=convert_by(
        full_match(LOCAL_TEXT), sure=f"length({{text}}) > 18 AND {CANONICAL}", guard=in_years("TIMESTAMP")
    ),
    guard=in_years("TIMESTAMP"),
    parse=parse_local_timestamp,
    expected="a timestamp without a time zone such as 2013-01-31T17:30:00",
)
UUID = PropertyType(
    name="uuid",
    family="uuid",
    arrow=False,
    postgres="uuid",
    duckdb="UUID",
    sqlalchemy=pg.UUID(),
    json_schema={"type": "string", "format": "uuid"},
    cast="TRY_CAST({text} AS UUID)",
    conversion=convert_by(full_match("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), sure=CANONICAL),
    parse=parse_uuid,
    expected="a UUID",
)
OBJECT = PropertyType(
    name="object",
    family="document",
    ranged=False,
    plain=False,
    arrow=False,
    postgres="jsonb",
    duckdb="JSON",
    sqlalchemy=pg.JSONB(),
    json_schema={"type": "object"},
    cast="{text}",
    conversion=convert_by(plain_json("OBJECT"), value="{text}"),
    parse=parse_text,
    expected="a JSON object",
    ordered=False,
)
ARRAY = replace(
    OBJECT,
    name="array",
    json_schema={"type": "array"},
    conversion=convert_by(plain_json("ARRAY"), value="{text}"),
    expected="a JSON array",
)
