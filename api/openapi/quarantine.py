"""The operations on rejected records and withheld loads."""

from __future__ import annotations

from collections.abc import Iterator

from api.openapi.loads import (
    INTEGER,
    MAYBE_TEXT,
    TEXT,
    TIMESTAMP,
    idempotency_parameter,
    json_answer,
    operation,
    queued_schema,
)
from api.openapi_parts.parts import PathItem, parameter, path_parameter, problem_answers
from catalog.storage.statuses import REJECT_STATES
from runtime.json_types import JsonObject


def quarantine_paths() -> Iterator[tuple[str, PathItem]]:
    """The paths of `/operations` that are about quarantine."""
    queued = json_answer("The load, queued.", queued_schema(), location=True)
    refused = problem_answers(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
    replay: JsonObject = {
        "type": "object",
        "required": ["product", "dataset"],
        "additionalProperties": False,
        "properties": {
            "product": TEXT,
            "major": INTEGER,
            "dataset": TEXT,
            "load": INTEGER
            | {"description": "Replay the whole raw batch of this load; by default open rejected records."},
        },
    }
    anyway: JsonObject = {
        "type": "object",
        "required": ["anyway"],
        "additionalProperties": False,
        "properties": {"anyway": {"type": "boolean", "const": True}},
    }
    yield "/operations/rejects", {"get": list_rejects()}
    yield (
        "/operations/replays",
        {
            "post": operation(
                "queue_replay",
                "Replay rejected records",
                "After the contract or the parents' data were corrected. Needs the scope `ops:write`.",
                [idempotency_parameter()],
                {"202": queued, **refused},
            )
            | body_of(replay)
        },
    )
    yield (
        "/operations/loads/{load}/publish",
        {
            "post": operation(
                "publish_anyway",
                "Publish a withheld load",
                "The audit log names the credential of the request. Needs the scope `ops:write`.",
                [path_parameter("load", "The withheld load's id.", "1"), idempotency_parameter()],
                {"202": queued, **refused},
            )
            | body_of(anyway)
        },
    )


def body_of(schema: JsonObject) -> JsonObject:
    """A JSON body that must be there."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def list_rejects() -> JsonObject:
    """Rejected records."""
    reject: JsonObject = {
        "id": INTEGER, "product": TEXT, "major": INTEGER, "dataset": TEXT, "load": INTEGER, "file": TEXT,
        "line": INTEGER, "key": MAYBE_TEXT, "raw": TEXT,
        "reasons": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "state": TEXT | {"enum": list(REJECT_STATES)}, "first_seen": TIMESTAMP, "last_seen": TIMESTAMP,
        "closed_at": TIMESTAMP, "closed_by": MAYBE_TEXT,
    }  # fmt: skip
    page: JsonObject = {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": {"type": "object", "required": list(reject), "properties": reject}},
            "next": {"type": ["string", "null"], "description": "The URL of the next page; null on the last page."},
        },
    }
    states: JsonObject = {"type": "string", "enum": [*REJECT_STATES, "all"], "default": "open"}
    return operation(
        "list_rejects",
        "Rejected records",
        "With all reasons and the raw text, newest first. Needs the scope `ops:read`.",
        [
            parameter("product", "Only records of this product.", {"type": "string"}),
            parameter("major", "Only records of this major version.", {"type": "integer"}),
            parameter("dataset", "Only records of datasets with this name.", {"type": "string"}),
            parameter("state", "Only records in this state.", states),
            parameter("reason", "Only records with this broken rule, or a broken rule of this property.", TEXT),
            parameter("load", "Only records of this load.", INTEGER),
            parameter("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
            parameter("before", "Only records with a smaller id; `next` contains it.", INTEGER),
        ],
        {"200": json_answer("A page of rejected records.", page), **problem_answers(401, 403, 422, 429, 503)},
    )
