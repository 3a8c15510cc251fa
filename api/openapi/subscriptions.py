"""The operations on subscriptions: webhooks."""

from __future__ import annotations

from collections.abc import Iterator

from api.openapi.keys import LIMIT, one, page_of, rows_of, tagged
from api.openapi.loads import INTEGER, MAYBE_INTEGER, MAYBE_TEXT, TEXT, TIMESTAMP, idempotency_parameter
from api.openapi.quarantine import body_of
from api.openapi_parts.parts import PathItem, parameter, path_parameter
from catalog.storage.outbox import KINDS
from catalog.storage.subscription_rights import SUBSCRIBED_KINDS
from runtime.json_types import JsonObject

TAG: JsonObject = {
    "name": "subscriptions",
    "description": "Webhooks: events are sent to an address of yours, signed.",
}
NAMES: JsonObject = {"type": ["array", "null"], "items": TEXT, "minItems": 1, "maxItems": 100}
MEANINGS = "; ".join(f"`{name}`: {KINDS[name].meaning}" for name in SUBSCRIBED_KINDS)
WANTED: JsonObject = {
    "datasets": NAMES | {"description": "Names of datasets; null for all of the product."},
    "kinds": {
        "type": "array",
        "items": {"type": "string", "enum": list(SUBSCRIBED_KINDS)},
        "minItems": 1,
        "maxItems": 100,
        "default": ["revision.published"],
        "description": f"Kinds of events. {MEANINGS}. Those of loads need the scope `ops:read`.",
    },
    "address": TEXT | {"maxLength": 2000, "examples": ["https://hooks.example/decant"]},
}
COLUMNS: JsonObject = {
    "id": TEXT, "product": TEXT, "major": INTEGER, **WANTED,
    "owner": TEXT | {"description": "The first key of the line that owns it."},
    "state": {"type": "string", "enum": ["active", "failing", "disabled"]},
    "reason": MAYBE_TEXT | {"description": "Why it is disabled, or nothing can be sent just now."},
    "failures": INTEGER | {"description": "Failed attempts in a row."},
    "failing_since": TIMESTAMP, "retry_at": TIMESTAMP, "disabled_at": TIMESTAMP, "delivered_at": TIMESTAMP,
    "created_at": TIMESTAMP,
}  # fmt: skip
SECRET: JsonObject = {"secret": TEXT | {"description": "The secret that signs; it is shown only once."}}
DELIVERY: JsonObject = {
    "delivery": INTEGER, "id": TEXT | {"description": "The id of the event: its `webhook-id`."},
    "kind": TEXT, "dataset": MAYBE_TEXT, "revision": MAYBE_INTEGER, "attempt": INTEGER, "sent_at": TIMESTAMP,
    "seconds": {"type": "number"}, "status": MAYBE_INTEGER, "delivered": {"type": "boolean"}, "error": MAYBE_TEXT,
    "retry_at": TIMESTAMP,
}  # fmt: skip
OWN = "For API keys: a key sees and changes its own."


def subscription_paths() -> Iterator[tuple[str, PathItem]]:
    """The paths."""
    name = path_parameter("subscription", "The subscription's id.", "0a1b2c3d4e5f6071")
    yield "/subscriptions", {"get": list_operation(), "post": create_operation()}
    one_path = "/subscriptions/{subscription}"
    yield one_path, {"get": get_operation(name), "patch": change_operation(name), "delete": delete_operation(name)}
    yield f"{one_path}/rotate", {"post": rotate_operation(name)}
    yield f"{one_path}/test", {"post": test_operation(name)}
    yield f"{one_path}/replays", {"post": replay_operation(name)}
    yield f"{one_path}/deliveries", {"get": deliveries_operation(name)}


def list_operation() -> JsonObject:
    """The caller's subscriptions."""
    row: JsonObject = {"type": "object", "required": list(COLUMNS), "properties": COLUMNS}
    listed = tagged("list_subscriptions", "Your webhooks", f"Newest first. {OWN}", [], 200, rows_of(row), 404)
    return ours(listed)


def create_operation() -> JsonObject:
    """A new subscription."""
    made_of: JsonObject = {
        "type": "object",
        "required": ["product", "address"],
        "additionalProperties": False,
        "properties": {
            "product": TEXT | {"examples": ["nyc-flights"]},
            "major": INTEGER | {"description": "The newest active one where it is left out."},
            **WANTED,
        },
    }
    description = (
        "Events of the product are sent to the address, from now on. The secret is shown only once. The key needs to"
        " read the product; its rights are judged again at each delivery. The address must be https and public,"
        " unless the operator allows a network."
    )
    problems = (400, 404, 409, 410, 413, 415)
    made = one(COLUMNS | SECRET)
    once = [idempotency_parameter()]
    created = tagged("create_subscription", "Create a webhook", description, once, 201, made, *problems)
    return ours(created) | body_of(made_of)


def get_operation(name: JsonObject) -> JsonObject:
    """One subscription."""
    return ours(tagged("get_subscription", "One webhook", f"Never its secret. {OWN}", [name], 200, one(COLUMNS), 404))


def change_operation(name: JsonObject) -> JsonObject:
    """A subscription changed."""
    wanted: JsonObject = {
        "type": "object",
        "additionalProperties": False,
        "properties": {**WANTED, "active": {"type": "boolean"}},
    }
    description = (
        "Members that are left out stay as they are. With `active: true` a disabled webhook is enabled again, and is"
        " sent what it has missed: of each dataset the newest revision."
    )
    problems = (400, 404, 410, 413, 415)
    changed = tagged("change_subscription", "Change a webhook", description, [name], 200, one(COLUMNS), *problems)
    return ours(changed) | body_of(wanted)


def delete_operation(name: JsonObject) -> JsonObject:
    """The end of a subscription."""
    return ours(tagged("delete_subscription", "Delete a webhook", "With its log.", [name], 204, None, 404))


def rotate_operation(name: JsonObject) -> JsonObject:
    """A new secret."""
    description = "The secret before signs beside the new one for 24 hours. The new secret is shown only once."
    made = one(COLUMNS | SECRET)
    return ours(tagged("rotate_subscription", "Rotate a webhook's secret", description, [name], 200, made, 404))


def test_operation(name: JsonObject) -> JsonObject:
    """A test event."""
    description = "A worker sends an event of the type `io.decant.subscription.test`, once."
    return ours(tagged("test_subscription", "Test a webhook", description, [name], 202, asked(), 404, 409))


def replay_operation(name: JsonObject) -> JsonObject:
    """Events sent again."""
    wanted: JsonObject = {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {
            "id": TEXT | {"description": "The id of an event that was sent (`webhook-id`): it is sent again, once."},
            "since": {"type": "string", "format": "date-time", "description": "Everything since then, in order."},
        },
    }
    description = "Events are kept for seven days. The same event has the same id and content."
    problems = (400, 404, 409, 413, 415)
    replayed = tagged("replay_subscription", "Send events again", description, [name], 202, asked(), *problems)
    return ours(replayed) | body_of(wanted)


def deliveries_operation(name: JsonObject) -> JsonObject:
    """What was sent."""
    parameters = [
        name,
        parameter("limit", "How many.", LIMIT),
        parameter("before", "Only deliveries with a smaller number; `next` contains it.", INTEGER | {"minimum": 0}),
    ]
    description = "Each attempt, newest first; kept for 30 days."
    listed = tagged(
        "list_deliveries", "Deliveries of a webhook", description, parameters, 200, page_of(DELIVERY), 404
    )
    return ours(listed)


def asked() -> JsonObject:
    """The answer to what a worker will do."""
    return one({"deliveries": TEXT | {"description": "Where the outcome is found."}})


def ours(made: JsonObject) -> JsonObject:
    """The operation under the tag of subscriptions."""
    return made | {"tags": [TAG["name"]]}
