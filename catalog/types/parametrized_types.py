"""Property types with parameters: limits, digits, the words of booleans, the items of arrays, forms of dates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from catalog.types.canonical_json import plain_json
from catalog.types.datetime_patterns import compile_pattern, zoned
from catalog.types.property_type import (
    CANONICAL,
    WITH_OFFSET,
    PropertyType,
    convert_by,
    full_match,
    within_years,
)
from catalog.types.property_types import ARRAY, BOOLEAN
from catalog.types.value_parsers import LOCAL_TEXT, OFFSET, parse_integer, parse_numeric

SAFE_INTEGER = 2**53 - 1  # beyond it, JavaScript and many JSON readers lose digits
NUMERIC_MAX_PRECISION = 38  # DuckDB's DECIMAL, where values are checked


def integer_type(
    name: str, postgres: str, limits: tuple[int, int], bounds: tuple[int, int] | None = None
) -> PropertyType:
    """A whole-number type whose column has these limits.

    With `bounds`, raw records are held to them; filters take what the column may hold from before.
    """
    duckdb = {"smallint": "SMALLINT", "integer": "INTEGER"}.get(postgres, "BIGINT")
    least, most = bounds or limits
    guard = f"{{value}} BETWEEN {least} AND {most}" if bounds else ""
    hint = " (physicalType: bigint accepts larger ones)" if bounds else ""
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
        expected=f"an integer from {least} to {most}{hint}",
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
    digits = f"an integer of at most {precision} digits"
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
    # An item that is no value is a reason to reject the record: its replacement here is never stored.
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
