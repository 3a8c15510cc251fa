"""The operations that read a dataset, and the schemas of its records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.http.negotiation import CSV, NDJSON
from api.openapi.names import PAGE, operation_id, schema_name, tag_of
from api.openapi.parts import EXPLODED, UNCHANGED, answer, list_parameter, parameter, problem_answers
from api.query.parameters import COUNTS, LIMIT_DEFAULT, LIMIT_MAXIMUM
from catalog.model.dataset import EXPANDED, Dataset, Product, Property, links_of
from catalog.types.filter_operators import PATTERN_MAXIMUM_CHARACTERS


def record_schema(dataset: Dataset) -> dict[str, Any]:
    """One record. No property is required: `properties=` may leave any of them out."""
    properties: dict[str, Any] = {prop.name: property_schema(prop) for prop in dataset.properties.values()}
    links = links_of(dataset)
    if links:
        properties[EXPANDED] = {
            "type": "object",
            "description": "The related records that `expand` asked for; null where there is none.",
            "examples": [{next(iter(links)): None}],
            "properties": {name: {"type": ["object", "null"]} for name in links},
        }
    return {
        "type": "object",
        "title": dataset.title,
        "description": dataset.description or dataset.title,
        "properties": properties,
    }


def property_schema(prop: Property) -> dict[str, Any]:
    """A property as it is answered; null where it may be."""
    schema = dict(prop.type.json_schema)
    if prop.masked:
        return {"type": "null", "description": f"{prop.description} Not shown to this caller.".strip()}
    if not prop.required:
        schema["type"] = [schema["type"], "null"]
    if prop.enum and not prop.type.json_as_text:
        schema["enum"] = [*prop.enum] if prop.required else [*prop.enum, None]
    if prop.description:
        schema["description"] = prop.description
    if prop.examples:
        schema["examples"] = list(prop.examples)
    if prop.deprecated:
        schema["deprecated"] = True
    return schema


def page_schema(dataset: Dataset) -> dict[str, Any]:
    """A page of records."""
    return {
        "type": "object",
        "required": ["data", "revision", "next"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{schema_name(dataset)}"}},
            "revision": {"type": "integer", "description": "The revision that was read.", "examples": [1]},
            "next": {
                "type": ["string", "null"],
                "description": "The address of the next page of the same revision; null at the end of the walk.",
            },
            "count": {
                "type": "object",
                "description": "How many records there are in all; where it was asked for.",
                "required": ["value", "exact"],
                "properties": {
                    "value": {"type": "integer", "minimum": 0},
                    "exact": {
                        "type": "boolean",
                        "description": "False where it was capped or estimated.",
                    },
                },
            },
        },
    }


def common_facts(product: Product, dataset: Dataset) -> dict[str, Any]:
    """What all operations that read a dataset share."""
    scope = [f"{product.id}:read"]
    security: list[dict[str, Any]] = [{"bearer": scope}, {"header": scope}]
    return {
        "tags": [tag_of(dataset)],
        # An empty requirement says that a credential is optional.
        "security": [{}, *security] if product.anonymous else security,
        **({"deprecated": True} if product.status == "deprecated" else {}),
    }


def dataset_paths(product: Product, dataset: Dataset, filters: list[dict[str, Any]]) -> dict[str, Any]:
    """The operations of one dataset; `filters` refer to its filters."""
    common = common_facts(product, dataset)
    name = schema_name(dataset)
    record = {
        "type": "object",
        "required": ["data", "revision"],
        "properties": {
            "data": {"$ref": f"#/components/schemas/{name}"},
            "revision": {"type": "integer", "description": "The revision that was read."},
        },
    }
    return {
        f"{dataset.path}/records": {
            "get": {
                **common,
                "operationId": operation_id("list", dataset),
                "summary": f"A page of {dataset.name}",
                "description": f"{dataset.description}\n\nOrdered by its key "
                f"({', '.join(dataset.key)}) unless `sort` says otherwise.".strip(),
                "parameters": [*page_parameters(dataset), *filters],
                "responses": {
                    "200": page_answer(name),
                    "304": UNCHANGED,
                    **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
                },
            }
        },
        f"{dataset.path}/records/{{key}}": {
            "get": {
                **common,
                "operationId": operation_id("get", dataset),
                "summary": f"One record of {dataset.name}",
                "description": "The record with this key.",
                "parameters": [
                    key_parameter(dataset),
                    properties_parameter(list(dataset.key[:1])),
                    at_parameter(),
                    epoch_parameter(),
                    *expand_parameter(dataset),
                ],
                "responses": {
                    "200": answer("The record.", record),
                    "304": UNCHANGED,
                    **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
                },
            }
        },
    }


def page_parameters(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The parameters that every dataset's page has."""
    usable = [p for p in dataset.properties.values() if not p.masked and p.name not in dataset.key]
    some = [p.name for p in usable][:2] or list(dataset.key)
    # Objects and arrays have no order, and no name may stand twice.
    sorted_by = [*[p.name for p in usable if p.type.ordered][:1], *dataset.key][:2]
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAXIMUM, "default": LIMIT_DEFAULT}
    yield parameter("limit", "How many records a page holds.", limit)
    yield list_parameter(
        "sort",
        "Properties, `-` before one for descending; nulls come last in both directions.",
        [f"-{sorted_by[0]}", *sorted_by[1:]],
    )
    yield properties_parameter([dataset.key[0], *some])
    yield parameter(
        "cursor",
        "Where a walk goes on: taken from `next`, valid for the same query.",
        {"type": "string", "minLength": 1},
    )
    yield at_parameter()
    yield epoch_parameter()
    yield parameter(
        "count",
        "Adds a total: `exact` counts up to 100,000 records, `estimated` fewer and then goes by a sample.",
        {"type": "string", "enum": list(COUNTS)},
    )
    yield from expand_parameter(dataset)
    if dataset.searched:
        description = f"Words to search for in {', '.join(dataset.searched)}, as in a search field."
        yield parameter("q", description, {"type": "string", "maxLength": PATTERN_MAXIMUM_CHARACTERS})


def properties_parameter(example: list[str]) -> dict[str, Any]:
    """`properties`, which chooses what is shown."""
    return list_parameter("properties", "Only these properties.", example)


def expand_parameter(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """`expand`, where there is anything to embed."""
    links = list(links_of(dataset))
    if links:
        several = {"type": "array", "items": {"type": "string", "enum": links}, "examples": [links[:2]]}
        yield parameter("expand", "Related records to embed, as `expanded`.", several) | EXPLODED


def page_answer(name: str) -> dict[str, Any]:
    """A page, in each of its forms."""
    found = answer("A page of records.", {"$ref": f"#/components/schemas/{name}{PAGE}"}, link=True)
    for media_type in (CSV, NDJSON):
        found["content"][media_type.bare_type] = {"schema": {"type": "string"}}
    return found


def at_parameter() -> dict[str, Any]:
    """`at`, which reads an older revision."""
    return parameter(
        "at",
        "An older revision: its number, or a moment (RFC 3339) for the one that was current then.",
        {"type": "string", "examples": ["1"]},
    )


def epoch_parameter() -> dict[str, Any]:
    """`epoch`, which protects the revisions that a caller names."""
    return parameter(
        "epoch",
        "The `Decant-Epoch` in which the revision that is named was read: 410 where the database was restored since.",
        {"type": "string", "pattern": "^[0-9a-f]{8}$", "examples": ["5d41402a"]},
    )


def key_parameter(dataset: Dataset) -> dict[str, Any]:
    """The record's key as the last part of the path."""
    description = f"The record's {', '.join(dataset.key)}."
    if len(dataset.key) > 1:
        description += " Its parts are joined by commas; a comma within a part is written %2C."
    keyed = [dataset.properties[name] for name in dataset.key]
    example = ",".join(str(prop.examples[0]) for prop in keyed if prop.examples)
    schema = {"type": "string"} | ({"examples": [example]} if all(prop.examples for prop in keyed) else {})
    return {"name": "key", "in": "path", "required": True, "description": description, "schema": schema}
