"""The OpenAPI operation of a stream of revisions."""

from __future__ import annotations

from api.following.event_stream import ENDINGS
from api.openapi_parts.names import operation_id
from api.openapi_parts.parameters import epoch_parameter
from api.openapi_parts.parts import parameter, problem_answers
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject

REVISION_EVENT = (
    "`event: revision`: `id` is the revision; `data` is one line of JSON with `product`, `major`, `dataset`,"
    " `revision`, `epoch`, `published_at`, `record_count`, `inserted`, `updated`, `deleted` and `changes`, the URL of"
    " all changes since the last revision of which the follower was told. Callers who see only some of the records"
    " get no counts."
)
STREAM = (
    f"{REVISION_EVENT} `event: end`: the last event; `data` has `reason`"
    f" ({', '.join(f'`{reason}`' for reason in ENDINGS)}), `detail`, and whether to `reconnect`."
    " A comment is sent every 15 seconds."
)


def follow_operation(dataset: Dataset) -> JsonObject:
    """New revisions as they are published."""
    number: JsonObject = {"type": "integer", "minimum": 0, "examples": [1]}
    since = parameter(
        "since",
        "The last known revision: later ones are told. Where left out, the current one is told first.",
        number,
    )
    resumed: JsonObject = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The `id` of the last event, which clients send when they reconnect; used instead of `since`.",
        "schema": number,
    }
    stream: JsonObject = {"text/event-stream": {"schema": {"type": "string", "description": STREAM}}}
    return {
        "operationId": operation_id("follow", dataset),
        "summary": f"Follow {dataset.name}",
        "description": "A stream of server-sent events, one for each new revision. A follower that reads slowly is"
        " told of the newest revision only; the last one always arrives.",
        "parameters": [since, epoch_parameter(), resumed],
        "responses": {
            "200": {"description": "A stream that stays open.", "content": stream},
            **problem_answers(401, 404, 406, 410, 422, 429, 503),
        },
    }
