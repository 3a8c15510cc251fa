"""The operations on loads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.openapi.parts import parameter, path_parameter, problem_answers
from catalog.models import LOAD_KINDS, LOAD_STATUSES

TAG = {"name": "operations", "description": "Running and watching ingestion; for keys with an `ops:` scope."}
COUNTS = ("raw", "accepted", "rejected", "duplicates", "inserted", "updated", "deleted", "unchanged")


def operation_paths() -> Iterator[tuple[str, Any]]:
    """The operations on loads."""
    number = {"type": "integer", "minimum": 1}
    filters = [
        parameter("product", "Only loads of this product.", {"type": "string"}),
        parameter("major", "Only loads of this major version.", {"type": "integer"}),
        parameter("dataset", "Only loads of datasets of this name.", {"type": "string"}),
        parameter("status", "Only loads that stand like this.", {"type": "string", "enum": list(LOAD_STATUSES)}),
        parameter("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        parameter("before", "Only loads with a smaller id; `next` carries it.", number),
    ]
    page = {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/Load"}},
            "next": {"type": ["string", "null"], "description": "The next page; null at the end."},
        },
    }
    one = {"type": "object", "required": ["data"], "properties": {"data": {"$ref": "#/components/schemas/Load"}}}
    yield (
        "/operations/loads",
        {
            "get": operation(
                "list_loads",
                "The latest loads",
                "Newest first. Needs the scope `ops:read`.",
                filters,
                {"200": json_answer("A page of loads.", page), **problem_answers(401, 403, 422, 503)},
            ),
            "post": operation(
                "queue_loads",
                "Load datasets now",
                "Queues a load for a worker: of the dataset named, or of each of the product's datasets that has a"
                " source of its own. Needs the scope `ops:write`. The same `Idempotency-Key` and body get the same"
                " answer for a day.",
                [idempotency_parameter()],
                {
                    "202": json_answer("The loads, queued.", queued_schema(), location=True),
                    **problem_answers(400, 401, 403, 409, 413, 415, 422, 503),
                },
            )
            | {"requestBody": {"required": True, "content": {"application/json": {"schema": request_schema()}}}},
        },
    )
    yield (
        "/operations/loads/{load}",
        {
            "get": operation(
                "get_load",
                "One load",
                "Its steps, gates as measured, reasons for rejection, notes, parts and the revisions that it read."
                " Needs the scope `ops:read`.",
                [path_parameter("load", "The load's id.", "1")],
                {"200": json_answer("The load.", one), **problem_answers(401, 403, 404, 422, 503)},
            )
        },
    )


def operation(
    name: str, summary: str, says: str, parameters: list[dict[str, Any]], responses: dict[str, Any]
) -> dict[str, Any]:
    """One operation that needs a key."""
    return {
        "tags": [TAG["name"]],
        "operationId": name,
        "summary": summary,
        "description": says,
        "security": [{"bearer": []}, {"header": []}],
        "parameters": parameters,
        "responses": responses,
    }


def json_answer(description: str, schema: dict[str, Any], *, location: bool = False) -> dict[str, Any]:
    """A JSON answer."""
    found: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    if location:
        found["headers"] = {"Location": {"description": "The first load.", "schema": {"type": "string"}}}
    return found


def idempotency_parameter() -> dict[str, Any]:
    """The header that makes a request safe to repeat."""
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A quoted string of your choice: the same request again is answered as the first was.",
        "schema": {"type": "string"},
    }


def request_schema() -> dict[str, Any]:
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


def queued_schema() -> dict[str, Any]:
    """The queued loads."""
    names = ("id", "product", "major", "dataset", "kind", "status", "url")
    properties = {name: {"type": "integer" if name in {"id", "major"} else "string"} for name in names}
    load = {"type": "object", "required": list(names), "properties": properties}
    return {"type": "object", "required": ["data"], "properties": {"data": {"type": "array", "items": load}}}


def load_schema() -> dict[str, Any]:
    """One attempt to bring one raw batch into one dataset."""
    text = {"type": ["string", "null"]}
    moment = {"type": ["string", "null"], "format": "date-time"}
    properties: dict[str, Any] = {
        "id": {"type": "integer"},
        "product": {"type": "string"},
        "major": {"type": "integer"},
        "dataset": {"type": "string"},
        "kind": {"type": "string", "enum": list(LOAD_KINDS)},
        "status": {"type": "string", "enum": list(LOAD_STATUSES)},
        "revision": {"type": ["integer", "null"], "description": "What it published."},
        **{name: {"type": ["integer", "null"]} for name in COUNTS},
        "attempt": {"type": "integer"},
        "started_at": moment,
        "finished_at": moment,
        "retry_at": {**moment, "description": "When a load that failed in passing is tried again."},
        "error_code": text,
        "error": text,
        "requested_by": text,
        "url": {"type": "string"},
    }
    return {
        "type": "object",
        "description": "One attempt to bring one raw batch into one dataset; read alone, it says more.",
        "required": list(properties),
        "properties": properties,
    }
