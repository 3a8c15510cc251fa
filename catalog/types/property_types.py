"""One entry per kind of value: Postgres type, DuckDB type, JSON Schema, capabilities, and how text becomes it.

`catalog/types/type_choice.py` says which entry a property has. Two checks of text exist side by side, on purpose:
`value_of` (DuckDB SQL, for raw records) and `parse` (Python, for filter values).
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from catalog.types.canonical_json import plain_json
from catalog.types.datetime_patterns import zoned
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
    parse_local_timestamp,
    parse_number,
    parse_text,
    parse_time,
    parse_timestamp,
    parse_uuid,
)

__all__ = ["InvalidValueError", "PropertyType", "parse_timestamp"]


UTC_TEXT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z?"


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
    family="identifier",
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
