"""What operations are made of: parameters, answers, problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from api.http.problems import KINDS, MEDIA_TYPE
from runtime.json_types import Json, JsonObject

# By address and method; what an operation says is settled in place, once all of it is there.
PathItem: TypeAlias = dict[str, dict[str, Any]]
Paths: TypeAlias = dict[str, PathItem]

PROBLEM: JsonObject = {"$ref": "#/components/schemas/Problem"}
RESPONSES = "#/components/responses/"

NEXT: JsonObject = {"type": ["string", "null"], "description": "The URL of the next page; null on the last page."}
REVISION: JsonObject = {"type": "integer", "description": "The revision that was read.", "examples": [1]}
UNCHANGED: JsonObject = {"description": "The entity tag in `If-None-Match` is current."}
# A list is one parameter with commas; one that is repeated is taken as well.
EXPLODED: JsonObject = {"style": "form", "explode": False}


def parameter(name: str, description: str, schema: Mapping[str, Json]) -> JsonObject:
    """A query parameter.

    Its example is in the schema: Swagger UI would send a parameter's own `example` along with every trial.
    """
    return {"name": name, "in": "query", "description": description, "schema": schema}


def list_parameter(name: str, description: str, example: list[str]) -> JsonObject:
    """A query parameter that is a list of texts."""
    schema: JsonObject = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "minLength": 1},
        "examples": [example],
    }
    return parameter(name, description, schema) | EXPLODED


def answer(
    description: str, schema: Mapping[str, Any], texts: Iterable[str] = (), *, link: bool = False
) -> JsonObject:
    """A JSON answer with its headers; `texts` are media types in which it is one text."""
    headers: JsonObject = {
        "Decant-Revision": {"description": "The revision that was read.", "schema": {"type": "integer"}},
        "Decant-Epoch": {"description": "The epoch of the revision.", "schema": {"type": "string"}},
        "ETag": {
            "description": "The entity tag of the response; send it as `If-None-Match`.",
            "schema": {"type": "string"},
        },
    }
    if link:
        text = 'The next page, as rel="next" (RFC 8288); left out if its URL is longer than 3,000 bytes.'
        headers["Link"] = {"description": text, "schema": {"type": "string"}}
    content: JsonObject = {"application/json": {"schema": schema}}
    content |= {media_type: {"schema": {"type": "string"}} for media_type in texts}
    return {"description": description, "headers": headers, "content": content}


def in_data(schema: Mapping[str, Json]) -> JsonObject:
    """The schema of an answer whose member `data` has this one."""
    return {"type": "object", "required": ["data"], "properties": {"data": dict(schema)}}


def path_parameter(name: str, description: str, example: str) -> JsonObject:
    """A part of the path."""
    schema: JsonObject = {"type": "string", "examples": [example]}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def problem_answers(*statuses: int) -> JsonObject:
    """The problems that an operation answers with, by status: spelled once, as components."""
    return {str(status): {"$ref": f"{RESPONSES}Problem{status}"} for status in statuses}


def problem_responses(used: Iterable[str]) -> JsonObject:
    """The components that these references name."""
    found: JsonObject = {}
    for name in sorted(reference.removeprefix(RESPONSES) for reference in used):
        kinds = {code: kind for code, kind in KINDS.items() if name == f"Problem{kind.status}"}
        text = " ".join(f"`{code}`: {kind.meaning}" for code, kind in kinds.items())
        found[name] = {"description": text, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
    return found


def problem_schema() -> JsonObject:
    """An error (RFC 9457)."""
    return {
        "type": "object",
        "description": "The error, and the accepted values (RFC 9457).",
        "required": ["type", "title", "status", "detail", "instance", "code", "trace_id"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "description": "A page about this kind of problem.",
            },
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string", "description": "The path of the request."},
            "code": {"type": "string", "enum": list(KINDS), "description": "The code of the problem."},
            "trace_id": {"type": "string", "description": "Identifies the request in logs and traces."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "parameter": {"type": "string"},
                        "pointer": {"type": "string", "description": "A JSON pointer to the record in the body."},
                        "message": {"type": "string"},
                        "allowed": {"type": "array", "items": {"type": "string"}},
                    },
                },
            },
        },
    }
