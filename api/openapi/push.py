"""The operations of a dataset that records are pushed to, and what they take and answer."""

from __future__ import annotations

from api.http.media_types import CLOUD_EVENT, CLOUD_EVENTS, JSON, NDJSON
from api.openapi_parts.names import RAW, operation_id, schema_name, tag_of
from api.openapi_parts.parts import Paths, parameter, path_parameter, problem_answers
from api.push.event_body import IDENTITY_LIMIT_BYTES, RECORDS_LIMIT
from api.push.outcomes import OUTCOMES
from catalog.model.dataset import Dataset, Product
from runtime.json_types import JsonObject

NOTE = f"""The raw records are kept on disk before the answer, and published with the next load.

One JSON object or an array of them, NDJSON, or CloudEvents 1.0: structured, batched, or binary with `ce-` headers.
Either all records of a body are taken or none is; at most {RECORDS_LIMIT:,} at once; gzip is taken too.

A CloudEvent that comes again, known by its `source` and `id`, is kept once and counted as `repeated`; the first one
counts, whatever the repeat says. For other records send an `Idempotency-Key`."""
RECEIPT_NOTE = f"""The outcome of each record is one of {", ".join(f"`{outcome}`" for outcome in OUTCOMES)}.

`published` names the revision that wrote the record; `unchanged`: nothing was written, since the dataset holds it
already, or a newer one with its key; `duplicate`: a newer record with its key came in the same load; `rejected` gives
every broken rule; `withheld`: a quality gate holds the load back, its owner decides;
`retrying`: the load is tried again."""

TEXT: JsonObject = {"type": "string"}
NUMBER: JsonObject = {"type": "integer"}


def event_schemas() -> JsonObject:
    """The schemas that all receipts have in common."""
    return {
        "Acknowledgement": acknowledgement_schema(),
        "PushedOutcome": outcome_schema(),
        "Receipt": receipt_schema(),
    }


def acknowledgement_schema() -> JsonObject:
    """What a push is answered with."""
    return {
        "type": "object",
        "description": "The records are kept; what becomes of them is told at `status_url`.",
        "required": ["receipt", "records", "repeated", "status_url"],
        "properties": {
            "receipt": {"type": "string", "format": "uuid"},
            "records": NUMBER | {"description": "How many records the body held."},
            "repeated": NUMBER | {"description": "How many of them had come before."},
            "status_url": TEXT | {"description": "Where the receipt is."},
        },
    }


def outcome_schema() -> JsonObject:
    """What became of one record."""
    return {
        "type": "object",
        "required": ["position", "outcome"],
        "properties": {
            "position": NUMBER | {"description": "The record's place in the body, from 1."},
            "source": TEXT | {"description": "Of a CloudEvent: its source."},
            "id": TEXT | {"description": "Of a CloudEvent: its id."},
            "outcome": {"type": "string", "enum": list(OUTCOMES)},
            "load": NUMBER | {"description": "The load that took it."},
            "line": NUMBER | {"description": "Its line in that load."},
            "revision": {"type": ["integer", "null"], "description": "The revision that holds it."},
            "reasons": {
                "type": "array",
                "description": "Every rule that it broke.",
                "items": {"type": "object", "additionalProperties": True},
            },
            "state": TEXT | {"description": "Where it stands in quarantine: open, replayed, superseded, dismissed."},
        },
    }


def receipt_schema() -> JsonObject:
    """What became of the records of one push, in pages."""
    data: JsonObject = {
        "type": "object",
        "required": ["receipt", "received_at", "records", "repeated", "finished", "outcomes", "events"],
        "properties": {
            "receipt": {"type": "string", "format": "uuid"},
            "received_at": {"type": "string", "format": "date-time"},
            "records": NUMBER,
            "repeated": NUMBER,
            "forgotten": NUMBER | {"description": "Records that are kept no longer."},
            "finished": {"type": "boolean", "description": "Whether every outcome is final."},
            "outcomes": {
                "type": "object",
                "description": "How many records came to each outcome.",
                "additionalProperties": NUMBER,
            },
            "events": {"type": "array", "items": {"$ref": "#/components/schemas/PushedOutcome"}},
        },
    }
    following: JsonObject = {"type": ["string", "null"], "description": "The address of the next page."}
    return {"type": "object", "required": ["data", "next"], "properties": {"data": data, "next": following}}


def raw_schema(dataset: Dataset) -> JsonObject:
    """One raw record, as loosely as it is judged: what breaks the contract is taken, and rejected later."""
    plain = [prop for prop in dataset.properties.values() if not prop.transform]
    return {
        "type": "object",
        "description": "A raw record. What breaks the contract is told in the receipt, not here.",
        "properties": {prop.name: {"description": prop.description or prop.name} for prop in plain},
        "additionalProperties": True,
    }


def cloud_event_schema(record: JsonObject) -> JsonObject:
    """A CloudEvent with a raw record in it."""
    name: JsonObject = {"type": "string", "minLength": 1, "maxLength": IDENTITY_LIMIT_BYTES}
    maybe_text: JsonObject = {"type": ["string", "null"]}
    return {
        "type": "object",
        "description": "A CloudEvent 1.0 with the record as `data`, or as JSON text in Base64 as `data_base64`.",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": name,
            "source": name,
            "type": name,
            "time": maybe_text | {"format": "date-time"},
            "datacontenttype": maybe_text | {"description": "JSON, or what is written as JSON."},
            "data": record,
            "data_base64": {"type": "string", "contentEncoding": "base64"},
        },
        "additionalProperties": True,
    }


def event_paths(product: Product, dataset: Dataset) -> Paths:
    """The operations that push records to a dataset and tell what became of them."""
    deprecated = {"deprecated": True} if product.status == "deprecated" else {}
    scope = [f"{product.id}:write"]
    common: JsonObject = {"tags": [tag_of(dataset)], "security": [{"bearer": scope}, {"header": scope}], **deprecated}
    return {
        f"{dataset.path}/events": {"post": common | push_operation(dataset)},
        f"{dataset.path}/receipts/{{receipt}}": {"get": common | receipt_operation(dataset)},
    }


def push_operation(dataset: Dataset) -> JsonObject:
    """Records in, an acknowledgement out."""
    key: JsonObject = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "A quoted string of your own for this request: sent again within 24 hours with the same body,"
        " it gets the same answer and keeps nothing twice.",
        "schema": {"type": "string", "examples": ['"8e03978e-40d5-43dd-bc93-6894a57f9324"']},
    }
    location: JsonObject = {"description": "Where the receipt is.", "schema": {"type": "string"}}
    return {
        "operationId": operation_id("push", dataset),
        "summary": f"Push raw records to {dataset.name}",
        "description": NOTE,
        "parameters": [key],
        "requestBody": {"required": True, "content": pushed_forms(dataset)},
        "responses": {
            "202": {
                "description": "The records are kept.",
                "headers": {"Location": location},
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Acknowledgement"}}},
            },
            **problem_answers(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
        },
    }


def pushed_forms(dataset: Dataset) -> JsonObject:
    """The forms that records are taken in."""
    record: JsonObject = {"$ref": f"#/components/schemas/{schema_name(dataset)}{RAW}"}
    event = cloud_event_schema(record)
    bodies: dict[str, JsonObject] = {
        JSON: {"oneOf": [record, {"type": "array", "minItems": 1, "items": record}]},
        NDJSON[0]: {"type": "string", "description": "One record in each line."},
        CLOUD_EVENT: event,
        CLOUD_EVENTS: {"type": "array", "items": event},
    }
    return {media_type: {"schema": schema} for media_type, schema in bodies.items()}


def receipt_operation(dataset: Dataset) -> JsonObject:
    """What became of the records of one push."""
    whole: JsonObject = {"type": "integer", "minimum": 0}
    return {
        "operationId": operation_id("get_receipt", dataset),
        "summary": f"What became of records pushed to {dataset.name}",
        "description": f"For whoever pushed them, and for `ops:read`. {RECEIPT_NOTE}",
        "parameters": [
            path_parameter("receipt", "The receipt's id.", "0b1f9a52-6d0b-4c3e-9a0c-3f6f7c1f0e11"),
            parameter("limit", "How many records a page holds.", whole | {"minimum": 1, "maximum": 1000}),
            parameter("after", "The place behind which the page begins.", whole),
        ],
        "responses": {
            "200": {
                "description": "What became of the records so far.",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Receipt"}}},
            },
            **problem_answers(401, 404, 410, 422, 429, 503, 504),
        },
    }
