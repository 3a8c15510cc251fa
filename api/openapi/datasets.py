"""The operations that ask about a dataset as a whole: aggregates, changes, exports."""

from __future__ import annotations

from typing import Any

from api.datasets.aggregates_parameters import MEASURES
from api.exports.formats import FORMATS
from api.openapi.names import operation_id, schema_name
from api.openapi.parts import UNCHANGED, answer, list_parameter, parameter, problem_answers
from api.openapi.records import at_parameter, epoch_parameter, page_parameters
from api.query.parameters import REVISION_DIGITS
from catalog.model.dataset import Dataset
from catalog.types.filter_operators import EQUAL

NEXT: dict[str, Any] = {"type": ["string", "null"], "description": "The address of the next page; null at the end."}
REVISION: dict[str, Any] = {"type": "integer", "description": "The revision that was read.", "examples": [1]}


def question_paths(dataset: Dataset, common: dict[str, Any], filters: list[dict[str, Any]]) -> dict[str, Any]:
    """The paths of a dataset's aggregates, changes and exports.

    `common` is what all its operations share, `filters` refer to its filters.
    """
    return {
        f"{dataset.path}/aggregate": {"get": common | aggregate_operation(dataset, filters)},
        f"{dataset.path}/changes": {"get": common | changes_operation(dataset)},
        f"{dataset.path}/revisions": {"get": common | revisions_operation(dataset)},
        f"{dataset.path}/export": {"get": common | export_operation(dataset, filters)},
    }


def aggregate_operation(dataset: Dataset, filters: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, sums and their like."""
    properties = [p for p in dataset.properties.values() if not p.masked]
    timestamp = next((p for p in properties if p.type.buckets), None)
    number = next((p for p in properties if p.type.is_number and p.name not in dataset.key), None)
    plain = next((p for p in properties if p.name not in dataset.key and EQUAL.applies(p.type)), None)
    groups = [p.name for p in (plain,) if p] + ([f"month({timestamp.name})"] if timestamp else [])
    measures = ["count"] + ([f"avg:{number.name}"] if number else [])
    schema = {
        "type": "object",
        "required": ["data", "revision", "next"],
        "properties": {
            "data": {
                "type": "array",
                "description": "A row for each group: its values and measures, such as `count` or `avg_price`.",
                "items": {
                    "type": "object",
                    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                },
            },
            "revision": REVISION,
            "next": NEXT,
        },
    }
    shared = [p for p in page_parameters(dataset) if p["name"] in {"limit", "cursor", "at", "epoch", "q"}]
    return {
        "operationId": operation_id("aggregate", dataset),
        "summary": f"Counts, sums and their like of {dataset.name}",
        "description": "Of all records, or of groups of them. Filters are those of the records.",
        "parameters": [
            list_parameter(
                "group_by",
                "Properties, or time buckets of them (`year`, `quarter`, `month`, `week`, `day`, `hour`, `minute`).",
                groups or list(dataset.key[:1]),
            ),
            list_parameter(
                "measure", f"What to measure: {', '.join(MEASURES)}; all but `count` of a property.", measures
            ),
            list_parameter("sort", "Names of groups and measures, `-` before one for descending.", ["-count"]),
            parameter("timezone", "Where days begin.", {"type": "string", "default": "UTC"}),
            *shared,
            *filters,
        ],
        "responses": {
            "200": answer("A page of groups.", schema, link=True),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }


def changes_operation(dataset: Dataset) -> dict[str, Any]:
    """What to do to a copy of an older revision."""
    record = {"$ref": f"#/components/schemas/{schema_name(dataset)}"}
    change = {
        "type": "object",
        "required": ["change", "key", "record"],
        "properties": {
            "change": {"type": "string", "enum": ["inserted", "updated", "deleted"]},
            "key": {"type": "object", "description": f"The record's {', '.join(dataset.key)}."},
            "record": {"oneOf": [record, {"type": "null"}], "description": "The record now; null where it is gone."},
        },
    }
    schema = {
        "type": "object",
        "required": ["data", "revision", "since", "next", "next_since", "next_epoch"],
        "properties": {
            "data": {"type": "array", "items": change},
            "revision": {"type": "integer", "description": "Up to which revision the walk goes."},
            "since": {"type": "integer", "description": "The revision that was asked for."},
            "next": NEXT,
            "next_since": {
                "type": ["integer", "null"],
                "description": "On the last page: from where the next walk goes on.",
            },
            "next_epoch": {
                "type": ["string", "null"],
                "description": "On the last page: the epoch of `next_since`, to be sent with it as `epoch`.",
            },
        },
    }
    since = parameter(
        "since",
        "The revision of the caller's copy; 0 gives every record as inserted.",
        {"type": "integer", "minimum": 0, "examples": [0]},
    )
    shared = [p for p in page_parameters(dataset) if p["name"] in {"limit", "cursor", "epoch", "properties"}]
    return {
        "operationId": operation_id("list_changes", dataset),
        "summary": f"What changed in {dataset.name}",
        "description": "Inserted, updated and deleted records after a revision, in the order of the key.",
        "parameters": [since | {"required": True}, *shared],
        "responses": {
            "200": answer("A page of changes.", schema, link=True),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }


def revisions_operation(dataset: Dataset) -> dict[str, Any]:
    """What was published when."""
    number: dict[str, Any] = {"type": "integer"}
    facts = dict.fromkeys(("revision", "record_count", "inserted", "updated", "deleted"), number)
    one = {"type": "object", "properties": facts | {"published_at": {"type": "string", "format": "date-time"}}}
    schema = {
        "type": "object",
        "required": ["data", "revision", "next"],
        "properties": {"data": {"type": "array", "items": one}, "revision": REVISION, "next": NEXT},
    }
    earlier = {"type": "integer", "minimum": 0, "maximum": 10**REVISION_DIGITS - 1}
    before = parameter("before", "Only older ones; `next` carries it.", earlier)
    return {
        "operationId": operation_id("list_revisions", dataset),
        "summary": f"What was published of {dataset.name}, and when",
        "description": "Newest first: when each revision came, how many records it has, and what it changed.",
        "parameters": [before, *[p for p in page_parameters(dataset) if p["name"] == "limit"]],
        "responses": {
            "200": answer("A page of publications.", schema, link=True),
            "304": UNCHANGED,
            **problem_answers(401, 404, 406, 410, 422, 429, 503, 504),
        },
    }


def export_operation(dataset: Dataset, filters: list[dict[str, Any]]) -> dict[str, Any]:
    """The dataset as a file."""
    text, binary = {"type": "string"}, {"type": "string", "format": "binary"}
    content = {media_type.bare_type: {"schema": text if media_type.text else binary} for media_type in FORMATS}
    shared = [p for p in page_parameters(dataset) if p["name"] in {"sort", "properties", "q"}]
    names = {"type": "string", "enum": [media_type.name for media_type in FORMATS]}
    headers = {"Location": {"description": "The same export at its revision.", "schema": {"type": "string"}}}
    return {
        "operationId": operation_id("export", dataset),
        "summary": f"All of {dataset.name} as a file",
        "description": "Every record that the filters leave, of one revision. Without filter and `at` the answer"
        " leads to the address of the current revision. Parquet and Excel files are kept, and served in ranges.",
        "parameters": [
            parameter("format", "The form; without it `Accept` decides.", names),
            *shared,
            at_parameter(),
            epoch_parameter(),
            *filters,
        ],
        "responses": {
            "200": {"description": "The records.", "content": content},
            "206": {"description": "The ranges of a file that were asked for.", "content": content},
            "304": UNCHANGED,
            "307": {"description": "The export at the current revision.", "headers": headers},
            **problem_answers(401, 404, 406, 410, 416, 422, 429, 503, 504),
        },
    }
