"""The schemas of lineage and provenance: where properties and records come from."""

from __future__ import annotations

from api.openapi.loads import INTEGER, MAYBE_INTEGER, MAYBE_TEXT, TEXT, TIMESTAMP
from runtime.json_types import JsonObject


def origin() -> JsonObject:
    """One thing that a property comes from."""
    properties: JsonObject = {
        "kind": {
            "type": "string",
            "enum": ["property", "records", "column", "stated"],
            "description": "A property of a dataset, the records of one, a raw column, or what the contract says.",
        },
        "place": TEXT | {"description": "The dataset, or the raw data; empty where the contract only says a name."},
        "name": MAYBE_TEXT | {"description": "The property or column; null where whole records count."},
        "url": TEXT | {"description": "The lineage of the dataset."},
        "origins": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Origin"},
            "description": "What it comes from in turn; empty where that stands at another place of the same tree.",
        },
    }
    return {"type": "object", "required": ["kind", "place", "name"], "properties": properties}


def lineage() -> JsonObject:
    """The lineage of a dataset."""
    user: JsonObject = {
        "type": "object",
        "required": ["place", "name", "url"],
        "properties": {"place": TEXT, "name": TEXT, "url": TEXT},
    }
    used_by: JsonObject = {"type": "array", "items": user}
    prop: JsonObject = {
        "type": "object",
        "required": ["name", "origins", "used_by"],
        "properties": {
            "name": TEXT,
            "transform": MAYBE_TEXT | {"description": "The expression that makes it; only for `ops:read`."},
            "origins": {"type": "array", "items": {"$ref": "#/components/schemas/Origin"}},
            "used_by": used_by | {"description": "The properties of other datasets that are made of it."},
        },
    }
    properties: JsonObject = {
        "dataset": TEXT,
        "source": MAYBE_TEXT | {"description": "What feeds the dataset; only for `ops:read`."},
        "query": MAYBE_TEXT | {"description": "The query that it is derived by; only for `ops:read`."},
        "properties": {"type": "array", "items": prop},
        "used_by": used_by | {"description": "The properties that are made of its records, not of their values."},
    }
    return {"type": "object", "required": ["dataset", "properties", "used_by"], "properties": properties}


def provenance() -> JsonObject:
    """The origin of a record."""
    thing: JsonObject = {"type": "object", "additionalProperties": True}
    properties: JsonObject = {
        "key": thing,
        "read_at_revision": INTEGER,
        "revision": INTEGER | {"description": "The revision that wrote this version of the record."},
        "published_at": TIMESTAMP,
        "deleted_in_revision": MAYBE_INTEGER | {"description": "The revision that deleted the record."},
        "load": thing | {"description": "The load of the record."},
        "file": MAYBE_TEXT | {"description": "The file, page or table of the raw batch."},
        "line": MAYBE_INTEGER | {"description": "The line of the record in the file."},
        "raw": MAYBE_TEXT | {"description": "The raw record; null if the raw batch cannot be read by this service."},
        "properties": {"type": "array", "items": thing, "description": "The origin of each property."},
        "earlier": {"type": "array", "items": thing, "description": "Up to 99 earlier versions, newest first."},
    }
    return {"type": "object", "required": list(properties), "properties": properties}
