"""logicalTypeOptions, enum and record-level quality rules of an ODCS property -> rules, or findings."""

from __future__ import annotations

import difflib
import math
import zoneinfo
from collections.abc import Iterator
from functools import cache
from typing import TypeGuard

from open_data_contract_standard.model import SchemaProperty

from catalog.contract.quality import is_record_rule
from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlNode, YamlPath
from catalog.model.dataset import Rule
from catalog.types.datetime_pattern_parts import DatetimePatternError
from catalog.types.datetime_patterns import in_zone
from catalog.types.logical_formats import INTEGER_FORMATS, NUMBER_FORMATS, TEXT_FORMATS
from catalog.types.parametrized_types import boolean_type, refine_type
from catalog.types.property_types import PropertyType
from catalog.types.type_choice import resolve_type
from catalog.types.value_parsers import InvalidValueError, parse_local_timestamp

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "dimensions")
OPTION_NAMES = {
    "string": ("pattern", "minLength", "maxLength", "format"),
    "integer": (*BOUNDS, "multipleOf", "format"),
    "number": (*BOUNDS, "multipleOf", "format"),
    "boolean": ("trueValues", "falseValues"),
    "date": (*BOUNDS, "format"),
    "time": (*BOUNDS, "format", "timezone", "defaultTimezone"),
    "timestamp": (*BOUNDS, "format", "timezone", "defaultTimezone"),
    "object": ("required", "minProperties", "maxProperties"),
    "array": ("minItems", "maxItems", "uniqueItems"),
}
# What the standard knows of embeddings says nothing about a record's values, but for their number.
VECTOR_OPTIONS = (
    "dimensions",
    "elementType",
    "distanceMetric",
    "embeddingModel",
    "embeddingModelVersion",
    "normalized",
)
# The standard's JSON Schema refuses foreign options of these itself.
CHECKED_BY_STANDARD = frozenset({*OPTION_NAMES, "vector"} - {"boolean"})
# These shape the type instead of checking its values.
TYPE_OPTIONS = frozenset({"timezone", "defaultTimezone", "trueValues", "falseValues"})


def find_type(
    part: SchemaProperty, logical: str, item: str | None, trail: YamlPath, findings: Findings
) -> PropertyType:
    """The property's type; a warning where its physicalType is none of ours, errors where options do not fit."""
    options = dict(part.logicalTypeOptions or {})
    path = (*trail, "logicalTypeOptions")
    if not check_zone(logical, options, path, findings):
        del options["defaultTimezone"]
    kind, understood = resolve_type(logical, part.physicalType, options, item)
    if not understood:
        findings.warning(
            (*trail, "physicalType"),
            f"{part.physicalType!r} is not supported for {logical}{f' of {item}' if item else ''}:"
            f" {kind.postgres} is used",
        )
    if logical == "boolean" and {"trueValues", "falseValues"} & set(options):
        words = read_words(options, path, findings)
        return boolean_type(*words) if words else kind
    try:
        return refine_type(kind, options)
    except DatetimePatternError as error:
        findings.error((*path, "format"), f"{options['format']!r}: {error}")
        return kind


def check_zone(logical: str, options: YamlMapping, path: YamlPath, findings: Findings) -> bool:
    """Whether `defaultTimezone` is absent or a zone that we know."""
    if "defaultTimezone" not in options:
        if logical == "time" and options.get("timezone"):
            findings.warning((*path, "timezone"), "a time has no time zone: not applied")
        return True
    path, zone = (*path, "defaultTimezone"), options["defaultTimezone"]
    if logical == "time" or (logical == "timestamp" and options.get("timezone") is False):
        findings.warning(path, f"a {logical} without a time zone has no default time zone: not applied")
    known = find_zones()
    if isinstance(zone, str) and (zone in {"UTC", "Etc/UTC", "Z"} or not known or zone in known):
        return True
    close = difflib.get_close_matches(str(zone), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ", such as Europe/Berlin"
    findings.error(path, f"{zone!r} is not a time zone of the IANA database{hint}")
    return False


@cache
def find_zones() -> frozenset[str]:
    """The time zones that Python knows; none where its machine has no database of them."""
    return frozenset(zoneinfo.available_timezones())


def read_words(
    options: YamlMapping, path: YamlPath, findings: Findings
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The words for true and for false, each one or a list; None and an error where a word is in both."""
    lists = []
    for name in ("trueValues", "falseValues"):
        given = options.get(name)
        words = [write_word(word) for word in (given if isinstance(given, list) else [given])]
        if not words or not all(words):
            findings.error(
                (*path, name), "trueValues and falseValues are needed together, each a word or a list of words"
            )
            return None
        lists.append(tuple(word for word in words if word))
    if both := {word.lower() for word in lists[0]} & {word.lower() for word in lists[1]}:
        findings.error((*path, "falseValues"), f"{', '.join(sorted(both))} are both true and false")
        return None
    return lists[0], lists[1]


def write_word(word: YamlNode) -> str:
    """A word for true or false as raw records write it; empty where it is none."""
    if isinstance(word, bool):
        return str(word).lower()
    return str(word).strip() if isinstance(word, str | int) else ""


def find_rules(
    part: SchemaProperty, logical: str, kind: PropertyType, trail: YamlPath, findings: Findings
) -> Iterator[Rule]:
    """The record-level rules of logicalTypeOptions and of the closed list of values."""
    path = (*trail, "logicalTypeOptions")
    known = VECTOR_OPTIONS if part.logicalType == "vector" else OPTION_NAMES[logical]
    for option, argument in (part.logicalTypeOptions or {}).items():
        if option not in known:
            if part.logicalType not in CHECKED_BY_STANDARD:
                findings.warning((*path, option), f"has no effect on {part.logicalType or logical}: not applied")
        elif option == "format":
            yield from find_format(kind, argument, (*path, option), findings)
        elif option == "dimensions":
            if problem := check_argument(kind, option, argument):
                findings.error((*path, option), problem)
            else:
                yield from (Rule("minItems", argument), Rule("maxItems", argument))
        elif option not in TYPE_OPTIONS and option not in VECTOR_OPTIONS:
            if problem := check_argument(kind, option, argument):
                findings.error((*path, option), problem)
            else:
                yield Rule(option, normalise_bound(kind, argument) if option in BOUNDS else argument)
    enum = [value for value in find_enum(part) if value is not None]
    if wrong := [value for value in enum if normalise_value(kind, value) is None]:
        findings.error(trail, f"the allowed values {', '.join(map(repr, wrong))} are not {kind.expected}")
    elif enum:
        yield Rule("enum", tuple(normalise_value(kind, value) for value in enum))


def find_format(kind: PropertyType, name: YamlNode, path: YamlPath, findings: Findings) -> Iterator[Rule]:
    """The rule of a text's or a number's format; that of a moment is its type's business."""
    if kind.is_time or name is None:
        return
    known: tuple[str, ...] = tuple(TEXT_FORMATS)
    if kind.is_number:
        known = (*INTEGER_FORMATS, *NUMBER_FORMATS)
    if name not in known:
        findings.warning(path, f"{name!r} is shown in the documentation, not checked; {', '.join(known)} are")
    elif kind.is_number or (kind.family == "text" and TEXT_FORMATS[name].regex):
        yield Rule("format", name)


def find_enum(part: SchemaProperty) -> tuple[YamlNode, ...]:
    """The only values allowed, from `enum` or from a quality rule that allows no invalid value."""
    if part.enum:
        return tuple(value.value for value in part.enum)
    for rule in part.quality or []:
        if (rule.metric or rule.rule) == "invalidValues" and is_record_rule(rule):
            return tuple((rule.arguments or {})["validValues"])
    return ()


def forbids_nulls(part: SchemaProperty) -> bool:
    """Whether a quality rule allows no null."""
    return any((q.metric or q.rule) == "nullValues" and is_record_rule(q) for q in part.quality or [])


def check_argument(kind: PropertyType, option: str, argument: YamlNode) -> str | None:
    """Why a rule cannot be held with this argument, or None."""
    if option in BOUNDS and normalise_bound(kind, argument) is None:
        return f"{argument!r} is not {'a number' if kind.is_number else kind.expected}"
    if option in COUNTS and (not isinstance(argument, int) or isinstance(argument, bool) or argument < 0):
        return f"{argument!r} is not an integer from 0"
    if option == "multipleOf" and (not is_number(argument) or argument <= 0):
        return f"{argument!r} is not a number above 0"
    if option == "pattern" and not isinstance(argument, str):
        return f"{argument!r} is not a regular expression: put it in quotes"
    if option == "required" and not (isinstance(argument, list) and all(isinstance(n, str) for n in argument)):
        return f"{argument!r} is not a list of names"
    return None


def is_number(value: YamlNode) -> TypeGuard[int | float]:
    """Whether a contract's value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def normalise_bound(kind: PropertyType, value: YamlNode) -> object:
    """The end of a range as rules compare with it, None where it is none: moments in ISO 8601."""
    if kind.is_time:
        return normalise_timestamp(kind, str(value))
    if not is_number(value):
        return None
    return int(value) if not kind.floating and float(value).is_integer() else value


def normalise_value(kind: PropertyType, value: YamlNode) -> object:
    """An allowed value as rules compare with it, None where it is no value of the type: moments in ISO 8601."""
    if kind.is_time:
        return normalise_timestamp(kind, str(value))
    if kind.is_whole and isinstance(value, float) and value.is_integer():
        value = int(value)
    return read(kind, value)


def read(kind: PropertyType, value: YamlNode) -> object:
    """The contract's value itself, None where it is no value of the type."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        kind.parse(text)
    except InvalidValueError:
        return None
    return value


def normalise_timestamp(kind: PropertyType, text: str) -> str | None:
    """A date or time in ISO 8601, None where the text is none; one without an offset is in the property's zone."""
    try:
        if kind.pattern:
            return str(kind.pattern.parse(text).isoformat())
    except InvalidValueError:
        pass
    if kind.zone != "UTC":
        try:
            return in_zone(parse_local_timestamp(text), kind.zone).isoformat()
        except (InvalidValueError, OverflowError, zoneinfo.ZoneInfoNotFoundError):
            pass
    try:
        kind.parse(text)
    except InvalidValueError:
        return None
    return text
