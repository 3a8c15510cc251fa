"""The operations on rejected records and withheld loads."""

from __future__ import annotations

from collections.abc import Iterator

from api.openapi.loads import INTEGER, TEXT, idempotency_parameter, json_answer, operation, queued_schema
from api.openapi.rejects import list_reasons, list_rejects
from api.openapi_parts.parts import PathItem, path_parameter, problem_answers
from catalog.model.reject_choice import IDS_AT_ONCE
from runtime.json_types import JsonObject
from runtime.plain_text import NOTE_CHARACTERS

SHORT_TEXT: JsonObject = {"type": "string", "minLength": 1, "maxLength": NOTE_CHARACTERS}
NOTE: JsonObject = SHORT_TEXT | {"description": "Why, for the audit log: printable characters."}
PLACE: JsonObject = {"product": TEXT, "major": INTEGER, "dataset": TEXT}
CHOICE: JsonObject = {
    "rule": SHORT_TEXT | {"description": "Open records with this broken rule."},
    "property": SHORT_TEXT | {"description": "With `rule`: only where the rule of this property is broken."},
    "ids": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1},
        "minItems": 1,
        "maxItems": IDS_AT_ONCE,
        "uniqueItems": True,
        "description": "These rejected records of the dataset; closed ones stay as they are.",
    },
}


def quarantine_paths() -> Iterator[tuple[str, PathItem]]:
    """The paths of `/operations` that are about quarantine."""
    yield "/operations/rejects", {"get": list_rejects()}
    yield "/operations/rejects/reasons", {"get": list_reasons()}
    yield (
        "/operations/replays",
        {
            "post": queueing(
                "queue_replay",
                "Replay rejected records",
                "After the contract or the parents' data were corrected: all that are open, or by one of `rule`,"
                " `ids` and `load`. Needs the scope `ops:write`.",
                replay_schema(),
            )
        },
    )
    yield (
        "/operations/dismissals",
        {
            "post": queueing(
                "queue_dismissal",
                "Dismiss rejected records",
                "Closes open rejected records that will not be corrected: by one of `rule`, `ids` and `load`. The"
                " load ends `unchanged`, and its notes say how many records it closed. The audit log has the note."
                " Needs the scope `ops:write`.",
                dismissal_schema(),
            )
        },
    )
    yield (
        "/operations/loads/{load}/publish",
        {
            "post": queueing(
                "publish_anyway",
                "Publish a withheld load",
                "The audit log names the credential of the request. Needs the scope `ops:write`.",
                body_object({"anyway": {"type": "boolean", "const": True}, "note": NOTE}, "anyway"),
                path_parameter("load", "The withheld load's id.", "1"),
            )
        },
    )


def queueing(name: str, summary: str, description: str, body: JsonObject, *parameters: JsonObject) -> JsonObject:
    """An operation that queues one load for its body."""
    queued = json_answer("The load, queued.", queued_schema(), location=True)
    refused = problem_answers(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
    answers = {"202": queued, **refused}
    return operation(name, summary, description, [*parameters, idempotency_parameter()], answers) | body_of(body)


def body_of(schema: JsonObject) -> JsonObject:
    """A JSON body that must be there."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def body_object(members: JsonObject, *required: str) -> JsonObject:
    """A JSON object of these members alone."""
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": members,
    }


def replay_schema() -> JsonObject:
    """What is to be replayed."""
    load = INTEGER | {"description": "The whole raw batch of this load."}
    return body_object(PLACE | CHOICE | {"load": load}, "product", "dataset")


def dismissal_schema() -> JsonObject:
    """What is to be dismissed."""
    load = INTEGER | {"description": "Open records that this load rejected."}
    members = PLACE | CHOICE | {"load": load, "note": NOTE}
    return body_object(members, "product", "dataset", "note")
