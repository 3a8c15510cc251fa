"""The schemas of a dataset's records, and what the operations that read it share."""

from __future__ import annotations

from api.openapi_parts.names import schema_name, tag_of
from catalog.model.dataset import EXPANDED, Dataset, Product, Property, links_of
from runtime.json_types import JsonObject


def record_schema(dataset: Dataset) -> JsonObject:
    """One record. No property is required: `properties=` may leave any of them out."""
    properties: JsonObject = {prop.name: property_schema(prop) for prop in dataset.properties.values()}
    links = links_of(dataset)
    if links:
        properties[EXPANDED] = {
            "type": "object",
            "description": "The related records that `expand` names; null if there is none.",
            "examples": [{next(iter(links)): None}],
            "properties": {name: {"type": ["object", "null"]} for name in links},
        }
    return {
        "type": "object",
        "title": dataset.title,
        "description": dataset.description or dataset.title,
        "properties": properties,
    }


def property_schema(prop: Property) -> JsonObject:
    """A property as it is answered; null where it may be."""
    schema = dict(prop.type.json_schema)
    if prop.masked:
        return {"type": "null", "description": f"{prop.description} Not visible to this caller.".strip()}
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


def page_schema(dataset: Dataset) -> JsonObject:
    """A page of records."""
    return {
        "type": "object",
        "required": ["data", "revision", "next"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{schema_name(dataset)}"}},
            "revision": {"type": "integer", "description": "The revision that was read.", "examples": [1]},
            "next": {
                "type": ["string", "null"],
                "description": "The URL of the next page of the same revision; null on the last page.",
            },
            "count": {
                "type": "object",
                "description": "Total number of matching records; only if `count` was sent.",
                "required": ["value", "exact"],
                "properties": {
                    "value": {"type": "integer", "minimum": 0},
                    "exact": {
                        "type": "boolean",
                        "description": "False if the total was capped or estimated.",
                    },
                },
            },
        },
    }


def common_facts(product: Product, dataset: Dataset) -> JsonObject:
    """What all operations that read a dataset share."""
    scope = [f"{product.id}:read"]
    security: list[JsonObject] = [{"bearer": scope}, {"header": scope}]
    return {
        "tags": [tag_of(dataset)],
        # An empty requirement says that a credential is optional.
        "security": [{}, *security] if product.anonymous else security,
        **({"deprecated": True} if product.status == "deprecated" else {}),
    }
