"""The operations that list rejected records, and count them by reason."""

from __future__ import annotations

from api.admin.reject_routes import COUNTED_MAXIMUM
from api.openapi.loads import INTEGER, MAYBE_TEXT, TEXT, TIMESTAMP, json_answer, operation
from api.openapi_parts.parts import NEXT, parameter, problem_answers
from catalog.storage.statuses import REJECT_STATES
from runtime.json_types import JsonObject

LIMIT: JsonObject = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
STATES: JsonObject = {"type": "string", "enum": [*REJECT_STATES, "all"], "default": "open"}


def place_parameters() -> list[JsonObject]:
    """The parameters that both operations take."""
    return [
        parameter("product", "Only records of this product.", {"type": "string"}),
        parameter("major", "Only records of this major version.", {"type": "integer"}),
        parameter("dataset", "Only records of datasets with this name.", {"type": "string"}),
        parameter("state", "Only records in this state.", STATES),
    ]


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
        "properties": {"data": array_of(reject), "next": NEXT},
    }
    return operation(
        "list_rejects",
        "Rejected records",
        "With all reasons and the raw text, newest first. Needs the scope `ops:read`.",
        [
            *place_parameters(),
            parameter("reason", "Only records with this broken rule, or a broken rule of this property.", TEXT),
            parameter("rule", "Only records with this broken rule.", TEXT),
            parameter("property", "Only records with a broken rule of this property; with `rule`, that rule.", TEXT),
            parameter("load", "Only records of this load.", INTEGER),
            parameter("limit", "How many.", LIMIT),
            parameter("before", "Only records with a smaller id; `next` contains it.", INTEGER),
        ],
        {"200": json_answer("A page of rejected records.", page), **problem_answers(401, 403, 422, 429, 503, 504)},
    )


def list_reasons() -> JsonObject:
    """The reasons of rejected records."""
    sample: JsonObject = {
        "id": INTEGER, "load": INTEGER, "file": TEXT, "line": INTEGER, "key": MAYBE_TEXT,
        "value": MAYBE_TEXT, "message": MAYBE_TEXT, "raw": TEXT,
    }  # fmt: skip
    reason: JsonObject = {
        "product": TEXT, "major": INTEGER, "dataset": TEXT, "property": MAYBE_TEXT, "rule": TEXT,
        "records": INTEGER, "first_seen": TIMESTAMP, "last_seen": TIMESTAMP,
        "samples": array_of(sample) | {"maxItems": 3},
    }  # fmt: skip
    page: JsonObject = {
        "type": "object",
        "required": ["data", "reasons", "count"],
        "properties": {
            "data": array_of(reason),
            "reasons": INTEGER | {"description": "The number of reasons, including those beyond the limit."},
            "count": {
                "type": "object",
                "description": f"How many records were counted: the latest {COUNTED_MAXIMUM:,} at most.",
                "required": ["value", "exact"],
                "properties": {
                    "value": INTEGER,
                    "exact": {"type": "boolean", "description": "False if there may be more."},
                },
            },
        },
    }
    return operation(
        "list_reject_reasons",
        "Reasons of rejected records",
        "For each rule and property of a dataset: the number of records, most first, and up to three samples, with"
        " texts of up to 200 characters. A record with several reasons counts for each. Of more than"
        f" {COUNTED_MAXIMUM:,} records the latest are counted. Needs the scope `ops:read`.",
        [*place_parameters(), parameter("limit", "How many reasons.", LIMIT)],
        {"200": json_answer("The reasons.", page), **problem_answers(401, 403, 422, 429, 503, 504)},
    )


def array_of(members: JsonObject) -> JsonObject:
    """An array of objects that have all of these members."""
    return {"type": "array", "items": {"type": "object", "required": list(members), "properties": members}}
