"""The operations on keys, usage and the audit log."""

from __future__ import annotations

from collections.abc import Iterator

from api.admin.key_store import STATES
from api.openapi.loads import INTEGER, MAYBE_TEXT, TEXT, TIMESTAMP, idempotency_parameter, json_answer, operation
from api.openapi.quarantine import body_of
from api.openapi_parts.parts import PathItem, in_data, parameter, path_parameter, problem_answers
from runtime.json_types import JsonObject

TAG: JsonObject = {
    "name": "keys",
    "description": "API keys: your own, and all keys with the scope `keys:admin`.",
}
BOOLEAN: JsonObject = {"type": "boolean", "default": False}
DAY: JsonObject = {"type": "string", "format": "date"}
LIMIT: JsonObject = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
RATE = "Such as `600/minute`; null for the default of the service."
COLUMNS: JsonObject = {
    "id": TEXT, "name": TEXT, "scopes": {"type": "array", "items": TEXT},
    "rate_limit": MAYBE_TEXT | {"description": RATE},
    "created_at": TIMESTAMP, "created_by": MAYBE_TEXT, "expires_at": TIMESTAMP, "revoked_at": TIMESTAMP,
    "last_used_at": TIMESTAMP,
    "replaced_by": MAYBE_TEXT | {"description": "The key that replaced it."},
    "state": {"type": "string", "enum": [state for state in STATES if state != "all"]},
}  # fmt: skip
MADE = COLUMNS | {"key": TEXT | {"description": "The key itself; it is shown only once."}}


def key_paths() -> Iterator[tuple[str, PathItem]]:
    """The paths."""
    name = path_parameter("key_id", "The key's id.", "0f3k9x2m4q7r")
    days = [parameter("from", "The first day.", DAY), parameter("to", "The last day.", DAY)]
    yield from own_key_paths(days)
    yield "/keys", {"get": list_operation(), "post": create_operation()}
    yield "/keys/{key_id}", {"get": get_operation(name), "delete": revoke_operation(name)}
    yield "/keys/{key_id}/rotate", {"post": rotation("rotate_key", "Rotate a key", [name])}
    yield "/operations/audit", {"get": audit_operation()}
    yield "/operations/usage", {"get": usage_operation(days)}


def own_key_paths(days: list[JsonObject]) -> Iterator[tuple[str, PathItem]]:
    """What everybody may do with the credential that they have."""
    yield "/keys/self", {"get": own("get_own_key", "Show your credential", one_of_callers())}
    usage = own("get_own_usage", "Your usage by day", rows_of(usage_schema()))
    yield "/keys/self/usage", {"get": usage | {"parameters": days}}
    yield "/keys/self/rotate", {"post": rotation("rotate_own_key", "Rotate your key", [])}


def list_operation() -> JsonObject:
    """The keys, in pages."""
    states: JsonObject = {"type": "string", "enum": list(STATES), "default": "all"}
    parameters = [
        parameter("state", "Only keys in this state.", states),
        parameter("limit", "How many.", LIMIT),
        parameter("before", "Only keys older than this one; `next` contains it.", TEXT),
    ]
    return tagged("list_keys", "All keys", "Newest first. Needs `keys:admin`.", parameters, 200, page_of(COLUMNS))


def create_operation() -> JsonObject:
    """A new key."""
    wanted: JsonObject = {
        "type": "object",
        "required": ["name", "scopes"],
        "additionalProperties": False,
        "properties": {
            "name": TEXT | {"maxLength": 200, "examples": ["partner"]},
            "scopes": {"type": "array", "items": TEXT, "minItems": 1, "examples": [["nyc-flights:read"]]},
            "expires_at": {"type": ["string", "null"], "format": "date-time"},
            "rate_limit": MAYBE_TEXT | {"examples": ["600/minute"]},
        },
    }
    description = "The key is shown only once. It may have any scope. Needs `keys:admin`."
    problems = (400, 409, 413, 415)
    made = tagged("create_key", "Create a key", description, [idempotency_parameter()], 201, one(MADE), *problems)
    return made | body_of(wanted)


def get_operation(name: JsonObject) -> JsonObject:
    """One key."""
    return tagged("get_key", "One key", "Never its secret. Needs `keys:admin`.", [name], 200, one(COLUMNS), 404)


def revoke_operation(name: JsonObject) -> JsonObject:
    """The end of a key and of its line."""
    description = (
        "The key and its line (keys that replaced each other) are rejected everywhere within five seconds. It"
        " cannot be undone. With `only=true`, the other keys of the line stay valid. Needs `keys:admin`."
    )
    only = parameter("only", "Whether the other keys of its line stay valid.", BOOLEAN)
    return tagged("revoke_key", "Revoke a key", description, [name, only], 204, None, 404)


def tagged(
    name: str,
    summary: str,
    description: str,
    parameters: list[JsonObject],
    status: int,
    schema: JsonObject | None,
    *problems: int,
) -> JsonObject:
    """One operation."""
    answer: JsonObject = {"description": "Done."} if schema is None else json_answer(f"{summary}.", schema)
    responses = {str(status): answer, **problem_answers(*sorted({401, 403, 422, 429, 503, *problems}))}
    return operation(name, summary, description, parameters, responses) | {"tags": [TAG["name"]]}


def own(name: str, summary: str, schema: JsonObject) -> JsonObject:
    """An operation that needs a credential and no scope."""
    return tagged(name, summary, "For any key or token.", [], 200, schema)


def rotation(name: str, summary: str, parameters: list[JsonObject]) -> JsonObject:
    """A rotation."""
    wanted: JsonObject = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "overlap_seconds": {"type": "integer", "minimum": 0, "maximum": 2_592_000, "default": 86_400},
            "expires_at": {"type": ["string", "null"], "format": "date-time"},
        },
    }
    description = (
        "The new key has the same name, scopes and rate limit, and the lifetime of the old key unless `expires_at` is"
        " set. The old key stays valid for the overlap."
    )
    made = one(MADE | {"replaces": TEXT})
    body: JsonObject = {"requestBody": {"required": False, "content": {"application/json": {"schema": wanted}}}}
    return tagged(name, summary, description, parameters, 201, made, 400, 404, 409, 413, 415) | body


def audit_operation() -> JsonObject:
    """The audit log."""
    entry: JsonObject = {
        "id": INTEGER, "at": TIMESTAMP, "principal": TEXT, "operation": TEXT, "product": MAYBE_TEXT,
        "dataset": MAYBE_TEXT, "records": {"type": ["integer", "null"]},
        "facts": {"type": ["object", "null"], "additionalProperties": True},
    }  # fmt: skip
    parameters = [
        parameter("principal", "Only this principal.", TEXT),
        parameter("operation", "Only this operation.", TEXT | {"examples": ["POST /keys"]}),
        parameter("limit", "How many.", LIMIT),
        parameter("before", "Only entries with a smaller id; `next` contains it.", INTEGER),
    ]
    description = (
        "Created, rotated and revoked keys, requested loads, overridden gates, erased records. Needs `ops:read`."
    )
    return tagged("list_audit", "List the audit log", description, parameters, 200, page_of(entry)) | {
        "tags": ["operations"]
    }


def usage_operation(days: list[JsonObject]) -> JsonObject:
    """What everybody asked for."""
    parameters = [parameter("principal", "Only this principal.", TEXT), *days]
    summary = "Usage of all callers by day"
    usage = tagged("list_usage", summary, "Needs `ops:read`.", parameters, 200, rows_of(usage_schema()))
    return usage | {"tags": ["operations"]}


def one(properties: JsonObject) -> JsonObject:
    """One thing."""
    thing: JsonObject = {"type": "object", "required": list(properties), "properties": properties}
    return in_data(thing)


def one_of_callers() -> JsonObject:
    """A key, or a token's subject."""
    token: JsonObject = {
        "type": "object",
        "required": ["subject", "scopes"],
        "properties": {"subject": TEXT, "scopes": {"type": "array", "items": TEXT}},
    }
    before: JsonObject = {
        "type": ["object", "null"],
        "description": "The key that it took the place of.",
        "required": ["id", "expires_at", "ended"],
        "properties": {"id": TEXT, "expires_at": TIMESTAMP, "ended": {"type": "boolean"}},
    }
    rotation: JsonObject = {
        "type": "object",
        "description": "Whether it can be rotated, and when a key would end that took its place now; null: never.",
        "required": ["possible", "expires_at"],
        "properties": {"possible": {"type": "boolean"}, "expires_at": TIMESTAMP},
    }
    columns = COLUMNS | {"predecessor": before, "rotation": rotation}
    key: JsonObject = {"type": "object", "required": list(columns), "properties": columns}
    return in_data({"anyOf": [key, token]})


def rows_of(row: JsonObject) -> JsonObject:
    """A list that has one page."""
    return in_data({"type": "array", "items": row})


def page_of(properties: JsonObject) -> JsonObject:
    """A page of a list."""
    thing: JsonObject = {"type": "object", "required": list(properties), "properties": properties}
    following: JsonObject = {
        "type": ["string", "null"],
        "description": "The URL of the next page; null on the last page.",
    }
    members: JsonObject = {"data": {"type": "array", "items": thing}, "next": following}
    return {"type": "object", "required": ["data", "next"], "properties": members}


def usage_schema() -> JsonObject:
    """What was asked for on one day."""
    properties: JsonObject = {
        "principal": TEXT, "day": DAY, "product": MAYBE_TEXT, "major": {"type": ["integer", "null"]},
        "dataset": MAYBE_TEXT, "operation": TEXT, "requests": INTEGER,
        "refused": INTEGER | {"description": "Requests answered with an error."},
        "refusals": {
            "type": "object",
            "additionalProperties": INTEGER,
            "description": "Of these, how many got which problem, by its code.",
            "examples": [{"rate_limited": 3, "unknown_parameter": 1}],
        },
        "bytes": INTEGER | {"description": "Bytes of response bodies."},
    }  # fmt: skip
    return {"type": "object", "required": list(properties), "properties": properties}
