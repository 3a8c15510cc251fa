"""The operations on loads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from api.openapi_parts.parts import PathItem, parameter, path_parameter, problem_answers
from catalog.storage.ledger_tables import LOAD_KINDS
from catalog.storage.statuses import LOAD_STATUSES
from runtime.json_types import Json, JsonObject

TAG: JsonObject = {
    "name": "operations",
    "description": "Running and watching ingestion; for keys with an `ops:` scope.",
}
TEXT: JsonObject = {"type": "string"}
INTEGER: JsonObject = {"type": "integer"}
MAYBE_TEXT: JsonObject = {"type": ["string", "null"]}
MAYBE_INTEGER: JsonObject = {"type": ["integer", "null"]}
TIMESTAMP: JsonObject = {"type": ["string", "null"], "format": "date-time"}
EARLY = "2026-01-31T06:00:00.000Z"


def operation_paths() -> Iterator[tuple[str, PathItem]]:
    """The operations on loads."""
    yield "/operations/loads", {"get": list_operation(), "post": queue_operation()}
    yield "/operations/loads/{load}", {"get": get_operation()}


def list_operation() -> JsonObject:
    """The latest loads, in pages."""
    filters = [
        parameter("product", "Only loads of this product.", {"type": "string"}),
        parameter("major", "Only loads of this major version.", {"type": "integer"}),
        parameter("dataset", "Only loads of datasets of this name.", {"type": "string"}),
        parameter("status", "Only loads that stand like this.", {"type": "string", "enum": list(LOAD_STATUSES)}),
        parameter("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        parameter("before", "Only loads with a smaller id; `next` carries it.", {"type": "integer", "minimum": 0}),
    ]
    page: JsonObject = {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/Load"}},
            "next": {"type": ["string", "null"], "description": "The next page; null at the end."},
        },
    }
    return operation(
        "list_loads",
        "The latest loads",
        "Newest first. Needs the scope `ops:read`.",
        filters,
        {"200": json_answer("A page of loads.", page), **problem_answers(401, 403, 422, 429, 503)},
    )


def queue_operation() -> JsonObject:
    """Loads asked for."""
    queued = operation(
        "queue_loads",
        "Load datasets now",
        "Queues a load for a worker: of the dataset named, or of each of the product's datasets that has a"
        " source of its own. Needs the scope `ops:write`. The same `Idempotency-Key` and body get the same"
        " answer for a day.",
        [idempotency_parameter()],
        {
            "202": json_answer("The loads, queued.", queued_schema(), location=True),
            **problem_answers(400, 401, 403, 409, 413, 415, 422, 429, 503),
        },
    )
    return queued | {"requestBody": {"required": True, "content": {"application/json": {"schema": request_schema()}}}}


def get_operation() -> JsonObject:
    """One load, whole."""
    one: JsonObject = {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"$ref": "#/components/schemas/Load"}},
    }
    return operation(
        "get_load",
        "One load",
        "Its steps, gates as measured, reasons for rejection, notes, parts and the revisions that it read."
        " Needs the scope `ops:read`.",
        [path_parameter("load", "The load's id.", "1")],
        {"200": json_answer("The load.", one), **problem_answers(401, 403, 404, 422, 429, 503)},
    )


def operation(
    name: str, summary: str, description: str, parameters: list[JsonObject], responses: JsonObject
) -> JsonObject:
    """One operation that needs a credential, with the scopes that its description names."""
    scopes = re.findall(r"`((?:ops|keys):[a-z]+)`", description)
    return {
        "tags": [TAG["name"]],
        "operationId": name,
        "summary": summary,
        "description": description,
        "security": [{"bearer": scopes}, {"header": scopes}],
        "parameters": parameters,
        "responses": responses,
    }


def json_answer(description: str, schema: JsonObject, *, location: bool = False) -> JsonObject:
    """A JSON answer."""
    found: JsonObject = {"description": description, "content": {"application/json": {"schema": schema}}}
    if location:
        found["headers"] = {"Location": {"description": "The first load.", "schema": {"type": "string"}}}
    return found


def idempotency_parameter() -> JsonObject:
    """The header that makes a request safe to repeat."""
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A quoted string of your choice: the same request again is answered as the first was.",
        "schema": {"type": "string"},
    }


def request_schema() -> JsonObject:
    """What is to be loaded."""
    return {
        "type": "object",
        "required": ["product"],
        "additionalProperties": False,
        "properties": {
            "product": {"type": "string", "description": "The product's id."},
            "major": {"type": "integer", "description": "Its major version; the newest active one by default."},
            "dataset": {"type": "string", "description": "One dataset; all with a source of their own by default."},
        },
    }


def queued_schema() -> JsonObject:
    """The queued loads."""
    names = ("id", "product", "major", "dataset", "kind", "status", "url")
    properties = {name: {"type": "integer" if name in {"id", "major"} else "string"} for name in names}
    load: JsonObject = {"type": "object", "required": list(names), "properties": properties}
    return {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": load}}}


# Each member of a load: its schema, what it means, an example.
LOAD: dict[str, tuple[JsonObject, str, Json]] = {
    "id": (INTEGER, "The load's number.", 7),
    "product": (TEXT, "The product's id.", "nyc-flights"),
    "major": (INTEGER, "The product's major version.", 1),
    "dataset": (TEXT, "The dataset that it brings records into.", "flights"),
    "kind": (TEXT | {"enum": list(LOAD_KINDS)}, "What it does.", "ingest"),
    "status": (TEXT | {"enum": list(LOAD_STATUSES)}, "How it stands, or ended.", "published"),
    "revision": (MAYBE_INTEGER, "The revision that it published.", 42),
    "raw": (MAYBE_INTEGER, "Raw records in its batch; null where it looked no further than the bytes.", 336776),
    "accepted": (MAYBE_INTEGER, "Records that kept the contract.", 336742),
    "rejected": (MAYBE_INTEGER, "Records that broke it.", 34),
    "duplicates": (MAYBE_INTEGER, "Records whose key came again in the batch, newer.", 0),
    "inserted": (MAYBE_INTEGER, "Records that were new.", 336742),
    "updated": (MAYBE_INTEGER, "Records that were changed.", 0),
    "deleted": (MAYBE_INTEGER, "Records that the batch no longer had.", 0),
    "unchanged": (MAYBE_INTEGER, "Records that were there already.", 0),
    "attempt": (INTEGER, "How often it was tried.", 1),
    "started_at": (TIMESTAMP, "When its latest attempt began; of a queued load, when it was queued.", EARLY),
    "finished_at": (TIMESTAMP, "When it ended.", EARLY),
    "retry_at": (TIMESTAMP, "When it is tried again, where it failed in passing.", EARLY),
    "error_code": (MAYBE_TEXT, "Why it failed, for programs.", "source_missing"),
    "error": (MAYBE_TEXT, "Why it failed, in words.", "There is no file 'flights.csv.zip'."),
    "requested_by": (MAYBE_TEXT, "Who asked for it, where somebody did.", "key 4f2c9a"),
    "url": (TEXT, "Where everything about it stands.", "/operations/loads/7"),
}


def load_schema() -> JsonObject:
    """One attempt to bring one raw batch into one dataset."""
    return {
        "type": "object",
        "description": "One attempt to bring one raw batch into one dataset; read alone, it says more.",
        "required": list(LOAD),
        "properties": {
            name: {**schema, "description": description, "examples": [example]}
            for name, (schema, description, example) in LOAD.items()
        },
    }
