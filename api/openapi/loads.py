"""The operations on loads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from api.openapi_parts.parts import PathItem, in_data, parameter, path_parameter, problem_answers
from catalog.storage.ledger_tables import LOAD_KINDS
from catalog.storage.statuses import LOAD_STATUSES
from runtime.json_types import Json, JsonObject

TAG: JsonObject = {
    "name": "operations",
    "description": "Run and monitor ingestion; needs an `ops:` scope.",
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
        parameter("status", "Only loads with this status.", {"type": "string", "enum": list(LOAD_STATUSES)}),
        parameter("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        parameter("before", "Only loads with a smaller id; `next` contains it.", {"type": "integer", "minimum": 0}),
    ]
    page: JsonObject = {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/Load"}},
            "next": {"type": ["string", "null"], "description": "The URL of the next page; null on the last page."},
        },
    }
    return operation(
        "list_loads",
        "List loads",
        "Newest first. Needs the scope `ops:read`.",
        filters,
        {"200": json_answer("A page of loads.", page), **problem_answers(401, 403, 422, 429, 503)},
    )


def queue_operation() -> JsonObject:
    """Loads asked for."""
    queued = operation(
        "queue_loads",
        "Queue loads",
        "Queues a load for a worker: of the given dataset, or of all datasets of the product that have a"
        " source of their own. Needs the scope `ops:write`. The same `Idempotency-Key` and body get the same"
        " response for a day.",
        [idempotency_parameter()],
        {
            "202": json_answer("The loads, queued.", queued_schema(), location=True),
            **problem_answers(400, 401, 403, 409, 413, 415, 422, 429, 503),
        },
    )
    return queued | {"requestBody": {"required": True, "content": {"application/json": {"schema": request_schema()}}}}


def get_operation() -> JsonObject:
    """One load, whole."""
    one = in_data({"$ref": "#/components/schemas/Load"})
    return operation(
        "get_load",
        "One load",
        "Its steps, measured gates, reasons for rejection, notes, parts and the revisions that it read."
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
        "description": "A quoted string of your choice: a repeated request gets the response of the first one.",
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
            "major": {
                "type": "integer",
                "description": "The major version of the product; by default the newest active one.",
            },
            "dataset": {
                "type": "string",
                "description": "One dataset; by default all that have a source of their own.",
            },
        },
    }


def queued_schema() -> JsonObject:
    """The queued loads."""
    names = ("id", "product", "major", "dataset", "kind", "status", "url")
    properties = {name: {"type": "integer" if name in {"id", "major"} else "string"} for name in names}
    load: JsonObject = {"type": "object", "required": list(names), "properties": properties}
    return in_data({"type": "array", "items": load})


# Each member of a load: its schema, what it means, an example.
LOAD: dict[str, tuple[JsonObject, str, Json]] = {
    "id": (INTEGER, "The load's number.", 7),
    "product": (TEXT, "The product's id.", "nyc-flights"),
    "major": (INTEGER, "The product's major version.", 1),
    "dataset": (TEXT, "The dataset that is loaded.", "flights"),
    "kind": (TEXT | {"enum": list(LOAD_KINDS)}, "The kind of the load.", "ingest"),
    "status": (TEXT | {"enum": list(LOAD_STATUSES)}, "The status of the load.", "published"),
    "revision": (MAYBE_INTEGER, "The revision that it published.", 42),
    "raw": (MAYBE_INTEGER, "Raw records in the batch; null if only the bytes were compared.", 336776),
    "accepted": (MAYBE_INTEGER, "Records that passed the contract's rules.", 336742),
    "rejected": (MAYBE_INTEGER, "Records that broke a rule of the contract.", 34),
    "duplicates": (MAYBE_INTEGER, "Records replaced by a newer record with the same key.", 0),
    "inserted": (MAYBE_INTEGER, "Inserted records.", 336742),
    "updated": (MAYBE_INTEGER, "Updated records.", 0),
    "deleted": (MAYBE_INTEGER, "Records that the batch no longer contains.", 0),
    "unchanged": (MAYBE_INTEGER, "Records that were present already.", 0),
    "attempt": (INTEGER, "Number of attempts.", 1),
    "started_at": (TIMESTAMP, "Start of the latest attempt; for a queued load, the time when it was queued.", EARLY),
    "finished_at": (TIMESTAMP, "End of the load.", EARLY),
    "retry_at": (TIMESTAMP, "Time of the next attempt, after a temporary failure.", EARLY),
    "error_code": (MAYBE_TEXT, "Error code of a failed load.", "source_missing"),
    "error": (MAYBE_TEXT, "Error message of a failed load.", "No file matches 'flights.csv.zip' in 'data'."),
    "requested_by": (MAYBE_TEXT, "Who requested the load; null for an automatic one.", "key 4f2c9a"),
    "url": (TEXT, "The URL of the load's details.", "/operations/loads/7"),
}


def load_schema() -> JsonObject:
    """One attempt to bring one raw batch into one dataset."""
    return {
        "type": "object",
        "description": "One attempt to bring one raw batch into one dataset. The URL of a single load returns"
        " more members.",
        "required": list(LOAD),
        "properties": {
            name: {**schema, "description": description, "examples": [example]}
            for name, (schema, description, example) in LOAD.items()
        },
    }
