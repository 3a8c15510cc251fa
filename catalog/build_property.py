"""One ODCS property -> Property: its type, its record-level rules, what it reads of a raw record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import sqlglot
from open_data_contract_standard.model import SchemaProperty
from sqlglot import expressions as exp

from catalog.dataset import Property, Rule, shorten_name
from catalog.document import Findings, Trail
from catalog.types import InvalidValueError, PropertyType, resolve_type

# What a physicalType of another system says about a property that has no logicalType.
GUESSES = (
    (r"bool|bit$", "boolean"),
    (r"timestamp|datetime", "timestamp"),
    (r"date", "date"),
    (r"time", "time"),
    (r"int|serial", "integer"),
    (r"num|dec|float|double|real|money", "number"),
    (r"json|struct|record|variant|object", "object"),
    (r"array|\[\]", "array"),
)
REPLACED_TYPES = {"map": "object", "vector": "array"}
CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")
OPTION_NAMES = {
    "string": ("pattern", "minLength", "maxLength", "format"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"),
    "boolean": (),
    "date": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "time": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "timezone", "defaultTimezone"),
    "timestamp": (
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "timezone",
        "defaultTimezone",
    ),
    "object": (),
    "array": ("minItems", "maxItems", "uniqueItems"),
}
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
COUNTS = ("minLength", "maxLength", "minItems", "maxItems")
NO_RULES = frozenset({"timezone", "defaultTimezone", "format"})


def build_property(part: SchemaProperty, trail: Trail, custom: dict[str, Any], findings: Findings) -> Property | None:
    """The property, or None where its name cannot be used."""
    name = part.name or ""
    column = shorten_name(part.physicalName or name)
    if not name or name.startswith("_") or column.startswith("_") or "\0" in name + column:
        findings.error(
            (*trail, "name"), f"{name!r}: a name is needed, and those that start with '_' are Decant's own"
        )
        return None
    logical = choose_logical_type(part)
    options = dict(part.logicalTypeOptions or {})
    kind, understood = resolve_type(logical, part.physicalType, options)
    if not understood:
        findings.warning(
            (*trail, "physicalType"),
            f"{part.physicalType!r} is not a type of ours for {logical}: {kind.postgres} is used",
        )
    if part.partitioned:
        findings.warning((*trail, "partitioned"), "not applied yet")
    transform = (part.transformLogic or "").strip() or None
    classification = part.classification or "internal"
    if classification not in CLASSIFICATIONS:
        findings.warning((*trail, "classification"), f"{classification!r} is treated as restricted")
        classification = "restricted"
    enum = find_enum(part)
    return Property(
        name=name,
        column=column,
        type=kind,
        logical_type=logical,
        required=bool(part.required or part.primaryKey) or forbids_nulls(part),
        unique=bool(part.unique),
        rules=tuple(find_rules(logical, kind, options, enum, trail, findings)),
        description=(part.description or "").strip(),
        examples=tuple(part.examples or ()),
        classification=classification,
        transform=transform,
        raw_columns=find_raw_columns(transform, trail, findings) if transform else (name,),
        indexed=custom.get("indexed") is True,
        options=options,
        enum=enum,
        deprecated=bool(part.deprecated),
    )


def choose_logical_type(part: SchemaProperty) -> str:
    """The logicalType, or the one that the physicalType suggests; text where nothing does."""
    if part.logicalType:
        chosen = REPLACED_TYPES.get(part.logicalType, part.logicalType)
        # A word that is none is the standard's schema's to refuse; text serves until then.
        return chosen if chosen in OPTION_NAMES else "string"
    if part.properties:
        return "object"
    physical = (part.physicalType or "").lower()
    return next((logical for pattern, logical in GUESSES if re.search(pattern, physical)), "string")


def find_enum(part: SchemaProperty) -> tuple[Any, ...]:
    """The only values allowed, from `enum` or from a quality rule that allows no invalid value."""
    if part.enum:
        return tuple(value.value for value in part.enum)
    for rule in part.quality or []:
        if (
            (rule.metric or rule.rule) == "invalidValues"
            and rule.mustBe == 0
            and (rule.arguments or {}).get("validValues")
        ):
            return tuple((rule.arguments or {})["validValues"])
    return ()


def forbids_nulls(part: SchemaProperty) -> bool:
    """Whether a quality rule allows no null."""
    return any((q.metric or q.rule) == "nullValues" and q.mustBe == 0 for q in part.quality or [])


def find_rules(
    logical: str,
    kind: PropertyType,
    options: dict[str, Any],
    enum: tuple[Any, ...],
    trail: Trail,
    findings: Findings,
) -> Iterator[Rule]:
    """The record-level rules of logicalTypeOptions and the enum."""
    place = (*trail, "logicalTypeOptions")
    for option, argument in options.items():
        if option not in OPTION_NAMES[logical]:
            if not (logical == "object" or (option == "format" and logical in {"date", "time", "timestamp"})):
                findings.warning((*place, option), f"means nothing for {logical}: not applied")
                continue
            findings.warning((*place, option), "not applied yet")
        elif option == "format" and argument not in {None, "i32", "i64", "f32", "f64"}:
            findings.warning((*place, option), "shown in the documentation, not checked yet")
        elif option == "defaultTimezone":
            if argument not in {"UTC", "Etc/UTC", "Z"}:
                findings.error(
                    (*place, option),
                    "only UTC is applied yet; use transformLogic with timezone(…) for others",
                )
        elif option not in NO_RULES:
            if problem := check_argument(kind, option, argument):
                findings.error((*place, option), problem)
            else:
                yield Rule(option, argument)
    if wrong := [value for value in enum if not is_value(kind, value)]:
        findings.error(trail, f"the allowed values {', '.join(map(repr, wrong))} are not {kind.expected}")
    elif enum:
        yield Rule("enum", enum)


def check_argument(kind: PropertyType, option: str, argument: Any) -> str | None:
    """Why a rule cannot be held with this argument, or None."""
    if option in BOUNDS and not is_value(kind, argument):
        return f"{argument!r} is not {kind.expected}"
    if option in COUNTS and (not isinstance(argument, int) or isinstance(argument, bool) or argument < 0):
        return f"{argument!r} is not a whole number from 0"
    if option == "multipleOf" and (not isinstance(argument, int | float) or argument <= 0):
        return f"{argument!r} is not a number above 0"
    return None


def is_value(kind: PropertyType, value: Any) -> bool:
    """Whether a contract's value is one of the property's type."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        kind.parse(text)
    except InvalidValueError:
        return False
    return True


def find_raw_columns(transform: str, trail: Trail, findings: Findings) -> tuple[str, ...]:
    """The raw columns that an expression reads; an error where it is not one expression over them."""
    place = (*trail, "transformLogic")
    try:
        parsed = sqlglot.parse(transform, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        findings.error(place, f"is not a DuckDB expression: {str(error).splitlines()[0]}")
        return ()
    if len(parsed) != 1 or parsed[0] is None or not isinstance(parsed[0], exp.Expression):
        findings.error(place, "must be one DuckDB expression")
        return ()
    tree = parsed[0]
    if tree.find(exp.Query, exp.Table, exp.Command, exp.DDL, exp.DML, exp.Star, exp.Columns):
        findings.error(place, "must be an expression over the raw columns: no SELECT, no table, no *, no statement")
        return ()
    # The variable of a list comprehension looks like a column.
    own = {
        name.name
        for comprehension in tree.find_all(exp.Comprehension)
        for name in comprehension.args["expression"].find_all(exp.Column, exp.Identifier)
    }
    if hidden := [c.name for c in tree.find_all(exp.Column) if c.name.lower().startswith("_decant")]:
        findings.error(place, f"{hidden[0]}: names that start with '_decant' are Decant's own")
        return ()
    return tuple(dict.fromkeys(c.name for c in tree.find_all(exp.Column) if c.name not in own))
