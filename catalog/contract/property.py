"""One ODCS property -> Property: its type, its record-level rules, what it reads of a raw record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from open_data_contract_standard.model import SchemaProperty

from catalog.contract.rules import OPTION_NAMES, find_enum, find_rules, find_type, forbids_nulls
from catalog.contract.transform import find_raw_columns
from catalog.document.custom_properties import read_declassified
from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlMapping, YamlPath
from catalog.model.dataset import Property, shorten_name
from catalog.model.reserved_names import refuse_property
from catalog.types.parametrized_types import array_type
from catalog.types.property_types import PropertyType
from catalog.types.type_choice import find_item_logical
from runtime.json_types import JsonObject

# What a physicalType of another system says about a property that has no logicalType.
GUESSES = (
    (r"array|\[\]", "array"),
    (r"json|struct|record|variant|object|map<", "object"),
    (r"bool|bit$", "boolean"),
    (r"timestamp|datetime", "timestamp"),
    (r"date", "date"),
    (r"time", "time"),
    (r"int|serial", "integer"),
    (r"num|dec|float|double|real|money", "number"),
)
REPLACED_TYPES = {"map": "object", "vector": "array"}
CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")
# What a part of an object cannot be.
COLUMN_WORDS = ("primaryKey", "unique", "transformLogic", "relationships")


def build_property(part: SchemaProperty, trail: YamlPath, custom: YamlMapping, findings: Findings) -> Property | None:
    """The property, or None where its name cannot be used."""
    name = part.name or ""
    column = shorten_name(part.physicalName or name)
    if problem := refuse_property(name, column):
        findings.error((*trail, "name"), problem)
        return None
    if part.partitioned:
        findings.warning((*trail, "partitioned"), "not applied yet")
    transform = (part.transformLogic or "").strip() or None
    classification = part.classification or "internal"
    if classification not in CLASSIFICATIONS:
        findings.warning((*trail, "classification"), f"{classification!r} is treated as restricted")
        classification = "restricted"
    value = build_value(part, name, trail, findings)
    return replace(
        value,
        column=column,
        required=value.required or bool(part.primaryKey),
        unique=bool(part.unique),
        classification=classification,
        declared=classification,
        declassified=read_declassified(custom, (*trail, "customProperties"), findings),
        transform=transform,
        raw_columns=find_raw_columns(transform, trail, findings) if transform else (name,),
        indexed=read_indexed(custom, value.type, trail, findings),
        searchable=read_searchable(custom, value.type, trail, findings),
        source_objects=tuple(part.transformSourceObjects or ()),
        masking=read_masking(custom, trail, findings),
        trimmed=read_trim(custom, trail, findings),
    )


def read_indexed(custom: YamlMapping, kind: PropertyType, trail: YamlPath, findings: Findings) -> bool:
    """Whether an index finds records by the property; a warning where none could."""
    if custom.get("indexed") is not True:
        return False
    if not kind.ordered and kind.item is None:
        findings.warning((*trail, "customProperties"), f"indexed: not applied to the type {kind.name}")
        return False
    return True


def read_trim(custom: YamlMapping, trail: YamlPath, findings: Findings) -> bool | None:
    """Whether blanks around raw texts are dropped; None where the contract does not say."""
    if "trim" not in custom:
        return None
    value = custom["trim"]
    if isinstance(value, bool):
        return value
    findings.error((*trail, "customProperties"), f"trim: {value!r} is not true or false")
    return None


def read_masking(custom: YamlMapping, trail: YamlPath, findings: Findings) -> str:
    """What callers without its scope see of a classified property: `omit` nothing, or `null`."""
    if "masking" not in custom:
        return "omit"
    value = custom["masking"]
    if value in {None, "null", "omit"}:  # YAML's own null is a way to write it
        return value or "null"
    findings.error((*trail, "customProperties"), f"masking: {value!r} is not omit or null")
    return "omit"


def read_searchable(custom: YamlMapping, kind: PropertyType, trail: YamlPath, findings: Findings) -> bool:
    """Whether a text search looks into the property; an error where it holds no text."""
    if custom.get("searchable") is not True:
        return False
    if kind.name != "string":
        findings.error((*trail, "customProperties"), "searchable: only applies to text")
        return False
    return True


def build_value(part: SchemaProperty, name: str, trail: YamlPath, findings: Findings) -> Property:
    """A property, or what an object or an array holds: its type and its rules, and those of its parts."""
    logical = choose_logical_type(part)
    children = tuple(build_children(part, logical, trail, findings))
    items = build_items(part, logical, trail, findings)
    entries = None
    if part.map is not None and part.map.key is not None and part.map.value is not None:
        path = (*trail, "map")
        key = build_part(part.map.key, "key", (*path, "key"), findings)
        entries = (key, build_part(part.map.value, "value", (*path, "value"), findings))
    kind = find_type(part, logical, items.logical_type if items else None, trail, findings)
    if items is not None and kind.item:
        kind = array_type(items.type)
    value = Property(
        name=name,
        column=name,
        type=kind,
        logical_type=logical,
        required=bool(part.required) or forbids_nulls(part),
        unique=False,
        rules=tuple(find_rules(part, logical, kind, trail, findings)),
        description=(part.description or "").strip(),
        examples=tuple(part.examples or ()),
        classification="internal",
        transform=None,
        raw_columns=(name,),
        indexed=False,
        options=dict(part.logicalTypeOptions or {}),
        enum=find_enum(part),
        deprecated=bool(part.deprecated),
        children=children,
        items=items,
        entries=entries,
    )
    return replace(value, type=replace(kind, json_schema=describe_value(value)))


def build_items(part: SchemaProperty, logical: str, trail: YamlPath, findings: Findings) -> Property | None:
    """What an array holds, where the contract or the column's type says; None where neither does."""
    if logical != "array":
        return None
    given = part.items or SchemaProperty(logicalType="number" if part.logicalType == "vector" else None)
    physical = (part.physicalType or "").strip()
    stored = None
    if physical.endswith("[]"):
        element = physical.removesuffix("[]")
        stored = find_item_logical(element, choose_logical_type(given) if part.items else None)
        if stored and given.physicalType is None:
            given = given.model_copy(update={"logicalType": stored, "physicalType": element})
    if part.items is None and stored is None and part.logicalType != "vector":
        return None
    return build_part(given, "items", (*trail, "items"), findings)


def build_part(part: SchemaProperty, name: str, trail: YamlPath, findings: Findings) -> Property:
    """What an object or an array holds under a name."""
    for word in COLUMN_WORDS:
        if getattr(part, word):
            findings.warning((*trail, word), "has no effect within an object or an array: not applied")
    return build_value(part, name, trail, findings)


def build_children(part: SchemaProperty, logical: str, trail: YamlPath, findings: Findings) -> Iterator[Property]:
    """The named parts of an object."""
    seen: set[str] = set()
    for index, child in enumerate(part.properties or [] if logical == "object" else []):
        path = (*trail, "properties", index)
        if not child.name or "\0" in child.name:
            findings.error((*path, "name"), "must have a name")
        elif child.name in seen:
            findings.error((*path, "name"), f"{child.name!r} is repeated")
        else:
            seen.add(child.name)
            yield build_part(child, child.name, path, findings)


def choose_logical_type(part: SchemaProperty) -> str:
    """The logicalType, or the one that the physicalType suggests; text where nothing does."""
    if part.logicalType:
        chosen = REPLACED_TYPES.get(part.logicalType, part.logicalType)
        # A word that is none is the standard's schema's to refuse; text serves until then.
        return chosen if chosen in OPTION_NAMES else "string"
    if part.items is not None:
        return "array"
    if part.properties or part.map is not None:
        return "object"
    physical = (part.physicalType or "").lower()
    return next((logical for pattern, logical in GUESSES if re.search(pattern, physical)), "string")


def describe_value(value: Property) -> JsonObject:
    """The JSON Schema of a property as it is answered, null aside."""
    if value.type.item and value.items:
        return {"type": "array", "items": allow_null(value.items.type.json_schema, value.items)}
    if value.logical_type in {"object", "array"}:
        return describe_json(value)
    name = value.options.get("format")
    if value.type.family == "text" and isinstance(name, str):
        return {**value.type.json_schema, "format": name}
    return value.type.json_schema


def describe_part(part: Property) -> JsonObject:
    """The JSON Schema of a value in an object or an array, which is stored unchanged."""
    schema = allow_null(describe_json(part), part)
    if part.enum:
        schema["enum"] = [*part.enum] if part.required else [*part.enum, None]
    if part.description:
        schema["description"] = part.description
    return schema


def describe_json(part: Property) -> JsonObject:
    """The JSON Schema of a value that is kept as JSON, null aside."""
    if part.logical_type == "array":
        return {"type": "array"} | ({"items": describe_part(part.items)} if part.items else {})
    if part.logical_type == "object":
        schema: JsonObject = {"type": "object"}
        if part.children:
            schema["properties"] = {child.name: describe_part(child) for child in part.children}
        needed = {child.name for child in part.children if child.required} | set(part.options.get("required") or [])
        if needed:
            schema["required"] = sorted(needed)
        if part.entries:
            schema["additionalProperties"] = describe_part(part.entries[1])
        return schema
    if part.logical_type in {"integer", "number", "boolean"}:
        number = part.type.json_schema if part.type.json_schema["type"] == part.logical_type else {}
        return {"type": part.logical_type, **number}
    if part.type.pattern is None and part.logical_type in {"string", "date"}:
        return describe_value(part)
    return {"type": "string"}  # a moment that is written in the way of its source


def allow_null(schema: JsonObject, part: Property) -> JsonObject:
    """The schema, for null too unless a value is required."""
    return dict(schema) if part.required else {**schema, "type": [schema["type"], "null"]}
