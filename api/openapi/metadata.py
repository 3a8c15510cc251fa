"""The operations about a dataset beside its records: profile, quality, loads, lineage, provenance."""

from __future__ import annotations

from api.openapi.lineage import lineage, origin, provenance
from api.openapi.loads import INTEGER, LOAD, MAYBE_INTEGER, MAYBE_TEXT, TEXT, TIMESTAMP
from api.openapi_parts.names import operation_id
from api.openapi_parts.parameters import key_parameter
from api.openapi_parts.parts import UNCHANGED, Paths, in_data, parameter, problem_answers
from catalog.model.dataset import Dataset
from catalog.storage.statuses import LOAD_STATUSES
from runtime.json_types import JsonObject

NEXT: JsonObject = {"type": ["string", "null"], "description": "The URL of the next page; null on the last page."}
NUMBER_OR_TEXT: JsonObject = {"type": ["number", "string", "null"]}
SHOWN_OF_LOADS = (
    "id", "kind", "status", "revision", "raw", "accepted", "rejected", "duplicates", "inserted", "updated", "deleted",
    "unchanged", "started_at", "finished_at", "error_code",
)  # fmt: skip


def inspection_schemas() -> JsonObject:
    """What all datasets' operations share."""
    return {
        "PropertyProfile": property_profile(),
        "PastProfile": past_profile(),
        "Measured": measured(),
        "Origin": origin(),
        "Lineage": lineage(),
        "Provenance": provenance(),
    }


def inspection_paths(dataset: Dataset, common: JsonObject, *, row_filtered: bool = False) -> Paths:
    """The paths; `row_filtered`: without those that count all records."""
    paths = {
        f"{dataset.path}/records/{{key}}/provenance": {"get": common | provenance_operation(dataset)},
        f"{dataset.path}/lineage": {"get": common | lineage_operation(dataset)},
    }
    if not row_filtered:
        paths |= {
            f"{dataset.path}/profile": {"get": common | profile_operation(dataset)},
            f"{dataset.path}/profile/history": {"get": common | profile_history_operation(dataset)},
            f"{dataset.path}/quality": {"get": common | quality_operation(dataset)},
            f"{dataset.path}/loads": {"get": common | loads_operation(dataset)},
        }
    return paths


def ledger_answers(description: str, schema: JsonObject, *, revision: bool = False) -> JsonObject:
    """The answers of an operation that reads the ledger."""
    headers: JsonObject = {
        "ETag": {
            "description": "The entity tag of the response; send it as `If-None-Match`.",
            "schema": {"type": "string"},
        }
    }
    if revision:
        headers["Decant-Revision"] = {"description": "The revision that it describes.", "schema": {"type": "integer"}}
    content: JsonObject = {"application/json": {"schema": schema}}
    found: JsonObject = {"200": {"description": description, "headers": headers, "content": content}}
    return found | {"304": UNCHANGED, **problem_answers(401, 404, 406, 410, 422, 429, 503)}


def page_of(items: JsonObject) -> JsonObject:
    """A list with its next page."""
    members: JsonObject = {"data": {"type": "array", "items": items}, "next": NEXT}
    return {"type": "object", "required": ["data", "next"], "properties": members}


def list_parameters(before_what: str = "Only loads with a smaller id") -> list[JsonObject]:
    """The parameters of a list of loads, or of what else is numbered."""
    limit: JsonObject = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    before: JsonObject = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
    return [
        parameter("limit", "How many.", limit),
        parameter("before", f"{before_what}; `next` contains it.", before),
    ]


def profile_operation(dataset: Dataset) -> JsonObject:
    """The figures of each property."""
    schema: JsonObject = {
        "type": "object",
        "required": ["data", "revision", "record_count", "made_at"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/PropertyProfile"}},
            "revision": {"type": "integer", "description": "The revision that it describes."},
            "record_count": {"type": "integer", "description": "The record count of the revision."},
            "made_at": {"type": "string", "format": "date-time"},
        },
    }
    return {
        "operationId": operation_id("get_profile", dataset),
        "summary": f"Profile of {dataset.name}",
        "description": "Nulls, distinct values, bounds, the most frequent values and a histogram of each property,"
        " exact and over all records. The profile is made after a publication: for a short time it"
        " can describe the previous revision.",
        "parameters": [],
        "responses": ledger_answers("The profile.", schema, revision=True),
    }


def profile_history_operation(dataset: Dataset) -> JsonObject:
    """The figures of the last revisions."""
    return {
        "operationId": operation_id("list_profile", dataset),
        "summary": f"Earlier profiles of {dataset.name}",
        "description": "Nulls, distinct values, bounds and mean of each property, newest revision first: of the last"
        " 50 revisions that a profile was made of, as far back as history reaches.",
        "parameters": list_parameters("Only smaller revisions"),
        "responses": ledger_answers("A page of revisions.", page_of({"$ref": "#/components/schemas/PastProfile"})),
    }


def quality_operation(dataset: Dataset) -> JsonObject:
    """What the rules measured."""
    return {
        "operationId": operation_id("list_quality", dataset),
        "summary": f"Quality of {dataset.name}",
        "description": "Measurements of the quality rules by load, newest first; a broken rule of severity `error`"
        " withholds the load.",
        "parameters": list_parameters(),
        "responses": ledger_answers(
            "A page of loads with their measurements.", page_of({"$ref": "#/components/schemas/Measured"})
        ),
    }


def loads_operation(dataset: Dataset) -> JsonObject:
    """What was tried."""
    schema: JsonObject = {
        "type": "object",
        "required": list(SHOWN_OF_LOADS),
        "properties": {name: LOAD[name][0] | {"description": LOAD[name][1]} for name in SHOWN_OF_LOADS},
    }
    status = parameter("status", "Only loads with this status.", {"type": "string", "enum": list(LOAD_STATUSES)})
    return {
        "operationId": operation_id("list_loads", dataset),
        "summary": f"Loads of {dataset.name}",
        "description": "All loads, newest first, with the outcome of their raw records.",
        "parameters": [*list_parameters(), status],
        "responses": ledger_answers("A page of loads.", page_of(schema)),
    }


def lineage_operation(dataset: Dataset) -> JsonObject:
    """Where properties come from."""
    schema = in_data({"$ref": "#/components/schemas/Lineage"})
    return {
        "operationId": operation_id("get_lineage", dataset),
        "summary": f"Where the properties of {dataset.name} come from",
        "description": "The properties of other datasets that each property is made of, and those that are made of"
        " it, as far as the caller sees them. Raw data, transforms and queries are shown to `ops:read`.",
        "parameters": [],
        "responses": ledger_answers("The lineage.", schema),
    }


def provenance_operation(dataset: Dataset) -> JsonObject:
    """Where a record came from."""
    scopes = [f"{dataset.product}:read", "ops:read"]
    schema = in_data({"$ref": "#/components/schemas/Provenance"})
    return {
        "operationId": operation_id("get_provenance", dataset),
        "summary": f"Provenance of a record of {dataset.name}",
        "description": "The load, file and line of the record, its raw text, the origin of its properties, and its"
        " earlier versions.",
        "security": [{"bearer": scopes}, {"header": scopes}],
        "parameters": [key_parameter(dataset)],
        "responses": ledger_answers("Its origin.", schema, revision=True) | problem_answers(403),
    }


def profile_figures() -> JsonObject:
    """The figures of a property that are kept of earlier revisions, too."""
    number: JsonObject = {"type": "integer", "minimum": 0}
    return {
        "property": TEXT,
        "nulls": number | {"description": "Number of records without a value."},
        "distinct": number | {"description": "Number of distinct values."},
        "minimum": NUMBER_OR_TEXT | {"description": "Null if texts are too long to be shown."},
        "maximum": NUMBER_OR_TEXT,
        "mean": {"type": ["number", "null"], "description": "Of numbers; rounded to a double."},
    }


def past_profile() -> JsonObject:
    """The figures of one revision."""
    figures: JsonObject = {
        "type": "object",
        "required": ["property", "nulls", "distinct"],
        "properties": profile_figures(),
    }
    properties: JsonObject = {
        "revision": INTEGER | {"description": "The revision that was profiled."},
        "record_count": INTEGER | {"description": "The record count of the revision."},
        "made_at": TEXT | {"format": "date-time", "description": "When its profile was made."},
        "properties": {"type": "array", "items": figures, "description": "The figures of each property."},
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def property_profile() -> JsonObject:
    """One property of a profile."""
    number: JsonObject = {"type": "integer", "minimum": 0}
    frequent: JsonObject = {
        "type": "object",
        "required": ["value", "records"],
        "properties": {"value": {}, "records": number},
    }
    bound: JsonObject = {
        "type": ["number", "string"],
        "description": "A number; a time for dates and times.",
    }
    bucket: JsonObject = {
        "type": "object",
        "required": ["from", "to", "records"],
        "properties": {"from": bound, "to": bound, "records": number},
    }
    return {
        "type": "object",
        "required": ["property", "nulls", "distinct"],
        "properties": {
            **profile_figures(),
            "most_frequent": {"type": ["array", "null"], "items": frequent},
            "histogram": {
                "type": ["array", "null"],
                "description": "Twenty buckets of equal width; each includes its lower bound, the last one"
                " both bounds.",
                "items": bucket,
            },
        },
    }


def measured() -> JsonObject:
    """One load as measured."""
    rule: JsonObject = {
        "type": "object",
        "required": ["rule", "dimension", "measured", "bound", "passed", "severity"],
        "properties": {
            "rule": TEXT,
            "dimension": MAYBE_TEXT,
            "measured": {"type": ["number", "null"]},
            "bound": TEXT,
            "passed": {"type": "boolean"},
            "severity": TEXT,
        },
    }
    properties: JsonObject = {
        "load": INTEGER,
        "status": TEXT,
        "revision": MAYBE_INTEGER,
        "published_anyway": {
            "type": "boolean",
            "description": "Whether rules of severity `error` failed, and an owner published the load all the same.",
        },
        "measured_at": TIMESTAMP,
        "raw": MAYBE_INTEGER,
        "rejected": MAYBE_INTEGER,
        "rules": {"type": "array", "items": rule},
    }
    return {"type": "object", "required": list(properties), "properties": properties}
