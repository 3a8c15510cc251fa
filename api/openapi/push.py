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

One JSON object, an array of objects, NDJSON, or CloudEvents 1.0: structured, batched, or binary with `ce-` headers.
A body is accepted or rejected as a whole; it has at most {RECORDS_LIMIT:,} records; gzip is supported.

A repeated CloudEvent, identified by its `source` and `id`, is stored once and counted as `repeated`; the content of
the first one is kept. For other records send an `Idempotency-Key`."""
RECEIPT_NOTE = f"""The outcome of each record is one of {", ".join(f"`{outcome}`" for outcome in OUTCOMES)}.

`published` names the revision that wrote the record; `unchanged`: nothing was written, since the dataset has it
already, or a newer one with its key; `duplicate`: a newer record with its key came in the same load; `rejected` gives
every broken rule; `withheld`: a quality gate withheld the load, its owner decides;
`retrying`: the load is retried."""

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
        "description": "The records are stored; `status_url` returns their outcomes.",
        "required": ["receipt", "records", "repeated", "status_url"],
        "properties": {
            "receipt": {"type": "string", "format": "uuid"},
            "records": NUMBER | {"description": "Number of records in the body."},
            "repeated": NUMBER | {"description": "Number of records that were pushed before."},
            "status_url": TEXT | {"description": "The URL of the receipt."},
        },
    }


def outcome_schema() -> JsonObject:
    """What became of one record."""
    return {
        "type": "object",
        "required": ["position", "outcome"],
        "properties": {
            "position": NUMBER | {"description": "The position of the record in the body, from 1."},
            "source": TEXT | {"description": "The source of a CloudEvent."},
            "id": TEXT | {"description": "The id of a CloudEvent."},
            "outcome": {"type": "string", "enum": list(OUTCOMES)},
            "load": NUMBER | {"description": "The load of the record."},
            "line": NUMBER | {"description": "The line of the record in the load."},
            "revision": {"type": ["integer", "null"], "description": "The revision that contains the record."},
            "reasons": {
                "type": "array",
                "description": "All rules that the record broke.",
                "items": {"type": "object", "additionalProperties": True},
            },
            "state": TEXT | {"description": "The state of a rejected record: open, replayed, superseded, dismissed."},
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
            "forgotten": NUMBER | {"description": "Records that are no longer kept."},
            "finished": {"type": "boolean", "description": "Whether every outcome is final."},
            "outcomes": {
                "type": "object",
                "description": "Number of records by outcome.",
                "additionalProperties": NUMBER,
            },
            "events": {"type": "array", "items": {"$ref": "#/components/schemas/PushedOutcome"}},
        },
    }
    following: JsonObject = {"type": ["string", "null"], "description": "The URL of the next page."}
    return {"type": "object", "required": ["data", "next"], "properties": {"data": data, "next": following}}


def raw_schema(dataset: Dataset) -> JsonObject:
    """One raw record, as loosely as it is accepted: one that breaks the contract is rejected later."""
    plain = [prop for prop in dataset.properties.values() if not prop.transform]
    return {
        "type": "object",
        "description": "A raw record. The receipt, not this response, reports broken rules of the contract.",
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
            "datacontenttype": maybe_text | {"description": "A JSON media type."},
            "data": record,
            "data_base64": {"type": "string", "contentEncoding": "base64"},
        },
        "additionalProperties": True,
    }


def event_paths(product: Product, dataset: Dataset) -> Paths:
    """The operations that push records to a dataset and report their outcome."""
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
        "description": "A quoted string of your choice: a request repeated within 24 hours with the same body"
        " gets the same response, and its records are stored once.",
        "schema": {"type": "string", "examples": ['"8e03978e-40d5-43dd-bc93-6894a57f9324"']},
    }
    location: JsonObject = {"description": "The URL of the receipt.", "schema": {"type": "string"}}
    return {
        "operationId": operation_id("push", dataset),
        "summary": f"Push raw records to {dataset.name}",
        "description": NOTE,
        "parameters": [key],
        "requestBody": {"required": True, "content": pushed_forms(dataset)},
        "responses": {
            "202": {
                "description": "The records are stored.",
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
        NDJSON[0]: {"type": "string", "description": "One record per line."},
        CLOUD_EVENT: event,
        CLOUD_EVENTS: {"type": "array", "items": event},
    }
    return {media_type: {"schema": schema} for media_type, schema in bodies.items()}


def receipt_operation(dataset: Dataset) -> JsonObject:
    """What became of the records of one push."""
    whole: JsonObject = {"type": "integer", "minimum": 0}
    return {
        "operationId": operation_id("get_receipt", dataset),
        "summary": f"Receipt of records pushed to {dataset.name}",
        "description": f"For the caller that pushed them, and for `ops:read`. {RECEIPT_NOTE}",
        "parameters": [
            path_parameter("receipt", "The receipt's id.", "0b1f9a52-6d0b-4c3e-9a0c-3f6f7c1f0e11"),
            parameter("limit", "Records per page.", whole | {"minimum": 1, "maximum": 1000}),
            parameter("after", "The position after which the page begins.", whole),
        ],
        "responses": {
            "200": {
                "description": "The current outcomes of the records.",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/Receipt"}}},
            },
            **problem_answers(401, 404, 410, 422, 429, 503, 504),
        },
    }
