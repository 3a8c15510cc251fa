"""Record-level rules as DuckDB SQL: what is true where a value breaks one, and the reason that it leaves. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from catalog.model.dataset import Property, Rule
from catalog.types.logical_formats import INTEGER_FORMATS, NUMBER_FORMATS, TEXT_FORMATS
from catalog.types.parametrized_types import NUMERIC_MAX_PRECISION
from runtime.duckdb_quoting import quote_text

SHOWN_VALUE_CHARACTERS = 200
SHOWN_ENUM_VALUES = 20


@dataclass(frozen=True)
class Check:
    """One rule in SQL: `broken` is true where `value` breaks it."""

    property: str
    rule: str
    broken: str
    value: str
    message: str


def compile_rule(rule: Rule, prop: Property, value: str) -> str:
    """SQL that is true where a value breaks the rule; null values break none."""
    argument = rule.argument
    if prop.type.family == "identifier" and rule.name in {"pattern", "minLength", "maxLength"}:
        value = f"CAST({value} AS VARCHAR)"
    match rule.name:
        case "pattern":
            return f"NOT regexp_matches({value}, {quote_text(translate_pattern(argument))})"
        case "minLength":
            return f"length({value}) < {int(argument)}"
        case "maxLength":
            return f"length({value}) > {int(argument)}"
        case "minimum":
            return f"{value} < {literal(argument, prop)}"
        case "maximum":
            return f"{value} > {literal(argument, prop)}"
        case "exclusiveMinimum":
            return f"{value} <= {literal(argument, prop)}"
        case "exclusiveMaximum":
            return f"{value} >= {literal(argument, prop)}"
        case "multipleOf" if prop.type.floating:
            return compile_multiple(value, argument)
        case "format":
            return compile_format(str(argument), value)
        case "multipleOf":
            return f"{value} % {literal(argument, prop)} <> 0"
        case "enum":
            return f"{value} NOT IN ({', '.join(literal(item, prop) for item in argument)})"
        case "minItems":
            return f"json_array_length({value}) < {int(argument)}"
        case "maxItems":
            return f"json_array_length({value}) > {int(argument)}"
        case "minProperties":
            return f"len(json_keys({value})) < {int(argument)}"
        case "maxProperties":
            return f"len(json_keys({value})) > {int(argument)}"
        case "uniqueItems" if argument:
            # A null in the list is null to SQL too, and not counted among the distinct.
            items = f"list_transform(from_json({value}, '[\"JSON\"]'), lambda i: coalesce(i::VARCHAR, 'null'))"
            return f"len(list_distinct({items})) < json_array_length({value})"
    return "FALSE"


def translate_pattern(pattern: str) -> str:
    """An ECMAScript regular expression as RE2 writes it: \\u00e9 is \\x{00e9} there."""
    return re.sub(
        r"\\u([0-9A-Fa-f]{4})|\\.",
        lambda found: f"\\x{{{found[1]}}}" if found[1] else found[0],
        pattern,
        flags=re.DOTALL,
    )


def compile_multiple(value: str, step: Any) -> str:
    """SQL that is true where a double is no multiple, judged by its shortest decimal form: 0.3 is three times 0.1."""
    places = min(max(0, -int(Decimal(repr(step)).as_tuple().exponent)), NUMERIC_MAX_PRECISION)
    decimal = f"DECIMAL({NUMERIC_MAX_PRECISION}, {places})"
    exact = f"TRY_CAST(CAST({value} AS VARCHAR) AS {decimal})"
    # A value with more places than its step is rounded here, and then is no longer itself.
    return (
        f"CASE WHEN {exact} IS NULL THEN {value} % {float(step)!r} <> 0"
        f" ELSE {exact} % CAST('{step!r}' AS {decimal}) <> 0 OR CAST({exact} AS DOUBLE) <> {value} END"
    )


def compile_format(name: str, value: str) -> str:
    """SQL that is true where a value does not have its format."""
    if name in TEXT_FORMATS:
        known = TEXT_FORMATS[name]
        too_long = f"length({value}) > {known.longest} OR " if known.longest else ""
        return f"{too_long}NOT regexp_full_match({value}, {quote_text(known.regex or '(?s).*')})"
    if name in NUMBER_FORMATS:
        return f"abs({value}) > {NUMBER_FORMATS[name]!r}"
    # A bound of more digits than any column holds is kept by the column.
    least, most = (bound if abs(bound) < 10**NUMERIC_MAX_PRECISION else None for bound in INTEGER_FORMATS[name])
    broken = [f"{value} < {least}" if least is not None else "", f"{value} > {most}" if most is not None else ""]
    return " OR ".join(part for part in broken if part) or "FALSE"


def literal(argument: object, prop: Property) -> str:
    """A contract's value as a SQL literal of the property's type."""
    if prop.type.item or prop.logical_type in {"object", "array"}:
        return quote_text(str(argument))
    if isinstance(argument, bool):
        argument = "true" if argument else "false"
    if isinstance(argument, int | float) and prop.type.is_number:
        return repr(argument) if math.isfinite(argument) else "NULL"
    return f"CAST({quote_text(str(argument))} AS {prop.type.duckdb})"


def describe_rule(rule: Rule) -> str:
    """The message about a broken rule."""
    match rule.name:
        case "enum":
            return "must be one of " + ", ".join(str(item) for item in rule.argument[:SHOWN_ENUM_VALUES])
        case "format":
            return describe_format(str(rule.argument))
        case "pattern":
            return f"must match {rule.argument}"
        case "uniqueItems":
            return "items must be unique"
    return f"{rule.name} is {rule.argument}"


def describe_format(name: str) -> str:
    """The message about a broken format."""
    if name in TEXT_FORMATS:
        return f"expected {TEXT_FORMATS[name].expected}"
    if name in NUMBER_FORMATS:
        return f"{name} is at most {NUMBER_FORMATS[name]:.3g}"
    return f"{name} is an integer from {INTEGER_FORMATS[name][0]} to {INTEGER_FORMATS[name][1]}"


def compile_reason(check: Check) -> str:
    """SQL for the reason that a broken check leaves, null where it is kept."""
    return write_reason(check.broken, quote_text(check.property), check.rule, check.value, check.message)


def write_reason(broken: str, place: str, rule: str, value: str, message: str) -> str:
    """SQL for the reason that is left where `broken` is true, else null; `place` is SQL for the property's path."""
    return (
        f"CASE WHEN {broken} THEN json_object('property', {place}, 'rule', {quote_text(rule)},"
        f" 'value', left({value}, {SHOWN_VALUE_CHARACTERS}), 'message', {quote_text(message)}) END"
    )


def list_reasons(reasons: Iterable[str]) -> str:
    """SQL for a list of those of the reasons that are left."""
    return f"list_filter([{', '.join(reasons)}], lambda reason: reason IS NOT NULL)"
