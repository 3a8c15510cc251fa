"""The OpenAPI 3.1 document, made from the contracts: typed operations, descriptions and examples for each dataset.

The requests themselves run through a handful of parametrised routes; only this document knows each dataset's types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.params import KEPT_FREE, LIMIT_DEFAULT, LIMIT_MAXIMUM, RESERVED, describe_operators
from api.problems import KINDS, MEDIA_TYPE
from catalog.contract import Catalog
from catalog.dataset import Dataset, Product, Property

VERSION = "0.1.0"
PROBLEM = {"$ref": "#/components/schemas/Problem"}
DESCRIPTION = """Curated datasets, each in whole, checked revisions.

Read a page of `/records`, follow `next` until it is null: a walk sees each record of the revision in which it began
exactly once, whatever is published meanwhile. Every response says in `Decant-Revision` which revision it read.

Filters are parameters such as `carrier=UA` or `distance[gte]=1000`; unknown parameters are refused, never ignored.
Errors are problems (RFC 9457) with a stable `code`.
"""


def build_document(catalog: Catalog) -> dict[str, Any]:
    """The whole document for these products."""
    schemas: dict[str, Any] = {"Problem": problem_schema()}
    paths: dict[str, Any] = dict(common_paths())
    tags = [
        {"name": "catalogue", "description": "What datasets there are."},
        {"name": "health", "description": "For machines that watch the service."},
    ]
    for product in catalog.products.values():
        if product.status not in {"active", "deprecated"}:
            continue
        for dataset in product.datasets.values():
            tags.append({"name": tag_of(dataset), "description": dataset.description or dataset.title})
            schemas[schema_name(dataset)] = record_schema(dataset)
            schemas[f"{schema_name(dataset)}Page"] = page_schema(dataset)
            paths |= dataset_paths(product, dataset)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Decant",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "contact": {"name": "The owners of this service", "url": "/docs"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `dcnt_…`."},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same API key."},
            },
        },
    }


def render_document(document: dict[str, Any]) -> str:
    """The document as text: the same contracts give the same bytes."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def write_document(catalog: Catalog, path: Path) -> None:
    """Writes the document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_document(build_document(catalog)), encoding="utf-8")


def is_current(catalog: Catalog, path: Path) -> bool:
    """Whether the document in `path` is what the contracts say."""
    return path.exists() and path.read_text(encoding="utf-8") == render_document(build_document(catalog))


def tag_of(dataset: Dataset) -> str:
    """The tag of a dataset's operations."""
    return f"{dataset.product} v{dataset.major} · {dataset.name}"


def schema_name(dataset: Dataset) -> str:
    """The name of a record's schema: words in capitals, nothing that a generator would trip over."""
    words = re.findall(r"[A-Za-z0-9]+", f"{dataset.product} v{dataset.major} {dataset.name}")
    return "".join(word[:1].upper() + word[1:] for word in words)


def operation_id(verb: str, dataset: Dataset) -> str:
    """A name for an operation that code generators turn into a function."""
    return "_".join([verb, *re.findall(r"[a-z0-9]+", f"{dataset.product} v{dataset.major} {dataset.name}".lower())])


def record_schema(dataset: Dataset) -> dict[str, Any]:
    """One record. No property is required: `properties=` may leave any of them out."""
    return {
        "type": "object",
        "title": dataset.title,
        "description": dataset.description or dataset.title,
        "properties": {prop.name: property_schema(prop) for prop in dataset.properties.values()},
    }


def property_schema(prop: Property) -> dict[str, Any]:
    """A property as it is answered; null where it may be."""
    schema = dict(prop.type.json_schema)
    if not prop.required:
        schema["type"] = [schema["type"], "null"]
    if prop.enum and not prop.type.json_as_text:
        schema["enum"] = [*prop.enum] if prop.required else [*prop.enum, None]
    if prop.description:
        schema["description"] = prop.description
    if prop.examples:
        schema["examples"] = list(prop.examples)
    if prop.deprecated:
        schema["deprecated"] = True
    return schema


def page_schema(dataset: Dataset) -> dict[str, Any]:
    """A page of records."""
    return {
        "type": "object",
        "required": ["data", "revision", "next"],
        "properties": {
            "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{schema_name(dataset)}"}},
            "revision": {"type": "integer", "description": "The revision that was read.", "examples": [1]},
            "next": {
                "type": ["string", "null"],
                "description": "The address of the next page of the same revision; null at the end of the walk.",
            },
        },
    }


def dataset_paths(product: Product, dataset: Dataset) -> dict[str, Any]:
    """The operations of one dataset."""
    security: list[dict[str, Any]] = [{"bearer": []}, {"header": []}]
    common = {
        "tags": [tag_of(dataset)],
        # An empty requirement says that a credential is optional.
        "security": [{}, *security] if product.anonymous else security,
        **({"deprecated": True} if product.status == "deprecated" else {}),
    }
    name = schema_name(dataset)
    record = {
        "type": "object",
        "required": ["data", "revision"],
        "properties": {
            "data": {"$ref": f"#/components/schemas/{name}"},
            "revision": {"type": "integer", "description": "The revision that was read."},
        },
    }
    return {
        f"{dataset.path}/records": {
            "get": {
                **common,
                "operationId": operation_id("list", dataset),
                "summary": f"A page of {dataset.name}",
                "description": f"{dataset.description}\n\nOrdered by its key "
                f"({', '.join(dataset.key)}) unless `sort` says otherwise.".strip(),
                "parameters": [*page_parameters(dataset), *filter_parameters(dataset)],
                "responses": {
                    "200": answer("A page of records.", {"$ref": f"#/components/schemas/{name}Page"}, link=True),
                    **problem_answers(401, 404, 410, 422, 503, 504),
                },
            }
        },
        f"{dataset.path}/records/{{key}}": {
            "get": {
                **common,
                "operationId": operation_id("get", dataset),
                "summary": f"One record of {dataset.name}",
                "description": "The record with this key.",
                "parameters": [
                    key_parameter(dataset),
                    parameter("properties", "Only these properties, separated by commas.", {"type": "string"}),
                    at_parameter(),
                ],
                "responses": {
                    "200": answer("The record.", record),
                    **problem_answers(401, 404, 410, 422, 503, 504),
                },
            }
        },
    }


def page_parameters(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The parameters that every dataset's page has."""
    some = [p.name for p in dataset.properties.values() if p.name not in dataset.key][:2] or list(dataset.key)
    limit = {"type": "integer", "minimum": 1, "maximum": LIMIT_MAXIMUM, "default": LIMIT_DEFAULT}
    yield parameter("limit", "How many records a page holds.", limit)
    yield parameter(
        "sort",
        "Properties separated by commas, `-` before one for descending; nulls come last in both directions.",
        {"type": "string", "examples": [f"-{some[0]},{dataset.key[0]}"]},
    )
    yield parameter(
        "properties",
        "Only these properties, separated by commas.",
        {"type": "string", "examples": [",".join([dataset.key[0], *some])]},
    )
    yield parameter(
        "cursor", "Where a walk goes on: taken from `next`, valid for the same query.", {"type": "string"}
    )
    yield at_parameter()


def at_parameter() -> dict[str, Any]:
    """`at`, which reads an older revision."""
    return parameter(
        "at",
        "An older revision: its number, or a moment (RFC 3339) for the one that was current then.",
        {"type": "string", "examples": ["1"]},
    )


def filter_parameters(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """One parameter for each property and operator."""
    meanings = describe_operators()
    for prop in dataset.properties.values():
        value = {k: v for k, v in prop.type.json_schema.items() if k != "pattern" or prop.type.json_as_text}
        examples = {"examples": [prop.examples[0]]} if prop.examples else {}
        plain = prop.name not in RESERVED and prop.name not in KEPT_FREE
        for operator in prop.type.operators:
            if operator == "eq" and plain:
                yield parameter(prop.name, f"{prop.description} Equal to.".strip(), value | examples)
            name = f"{prop.name}[{operator}]"
            says = f"{prop.name}: {meanings[operator]}."
            if operator == "null":
                yield parameter(name, says, {"type": "boolean"})
            elif operator == "in":
                several = {"type": "array", "items": value, "maxItems": 200}
                if prop.examples:
                    several["examples"] = [list(prop.examples[:2])]
                yield parameter(name, says, several) | {"style": "form", "explode": False}
            elif operator in {"like", "ilike"}:
                pattern = {"examples": [f"{str(prop.examples[0])[:1]}*"]} if prop.examples else {}
                yield parameter(name, says, {"type": "string", "maxLength": 128} | pattern)
            else:
                yield parameter(name, says, value | examples)


def key_parameter(dataset: Dataset) -> dict[str, Any]:
    """The record's key as the last part of the path."""
    says = f"The record's {', '.join(dataset.key)}."
    if len(dataset.key) > 1:
        says += " Its parts are joined by commas; a comma within a part is written %2C."
    keyed = [dataset.properties[name] for name in dataset.key]
    example = ",".join(str(prop.examples[0]) for prop in keyed if prop.examples)
    schema = {"type": "string"} | ({"examples": [example]} if all(prop.examples for prop in keyed) else {})
    return {"name": "key", "in": "path", "required": True, "description": says, "schema": schema}


def parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter.

    Its example stands in the schema: Swagger UI would send a parameter's own `example` along with every trial.
    """
    return {"name": name, "in": "query", "description": description, "schema": schema}


def answer(description: str, schema: dict[str, Any], *, link: bool = False) -> dict[str, Any]:
    """A JSON answer with its headers."""
    headers: dict[str, Any] = {
        "Decant-Revision": {"description": "The revision that was read.", "schema": {"type": "integer"}}
    }
    if link:
        headers["Link"] = {"description": 'The next page, as rel="next" (RFC 8288).', "schema": {"type": "string"}}
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}


def problem_answers(*statuses: int) -> dict[str, Any]:
    """The problems that an operation answers with, by status."""
    answers = {}
    for status in statuses:
        kinds = {code: kind for code, kind in KINDS.items() if kind.status == status}
        says = " ".join(f"`{code}`: {kind.meaning}" for code, kind in kinds.items())
        answers[str(status)] = {"description": says, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
    return answers


def problem_schema() -> dict[str, Any]:
    """An error (RFC 9457)."""
    return {
        "type": "object",
        "description": "What went wrong, and what would have been right (RFC 9457).",
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
            "instance": {"type": "string", "description": "The path that was asked for."},
            "code": {"type": "string", "enum": list(KINDS), "description": "The kind of problem, for programs."},
            "trace_id": {"type": "string", "description": "Leads to what the service noted about this request."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "parameter": {"type": "string"},
                        "message": {"type": "string"},
                        "allowed": {"type": "array", "items": {"type": "string"}},
                    },
                },
            },
        },
    }


def common_paths() -> Iterator[tuple[str, Any]]:
    """The operations that do not depend on any contract."""
    thing = {"type": "object", "required": ["data"], "properties": {"data": {"type": "object"}}}
    things = {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "array", "items": {"type": "object"}}},
    }
    security: list[dict[str, Any]] = [{}, {"bearer": []}, {"header": []}]
    product = path_parameter("product", "The product's id.", "nyc-flights")
    major = path_parameter("major", "Its major version.", "1")
    dataset = path_parameter("dataset", "The dataset's name.", "flights")
    operations: list[tuple[str, str, str, str, list[dict[str, Any]], dict[str, Any]]] = [
        ("/data", "list_products", "What products and datasets there are", "Those that you may read.", [], things),
        (
            "/data/{product}/v{major}",
            "get_product",
            "One product",
            "Its description, owner, promises and datasets.",
            [product, major],
            thing,
        ),
        (
            "/data/{product}/v{major}/{dataset}",
            "get_dataset",
            "One dataset",
            "Its properties, key and current revision.",
            [product, major, dataset],
            thing,
        ),
    ]
    for path, name, summary, says, parameters, schema in operations:
        content = {"description": summary, "content": {"application/json": {"schema": schema}}}
        operation = {
            "tags": ["catalogue"],
            "operationId": name,
            "summary": summary,
            "description": says,
            "security": security,
            "parameters": parameters,
            "responses": {"200": content, **problem_answers(401, 404, 410, 422, 503)},
        }
        yield path, {"get": operation}
    health = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    for path, name, says in (
        ("/livez", "livez", "200 as long as the process answers."),
        ("/readyz", "readyz", "200 when requests can be served, else 503."),
    ):
        content = {"application/json": {"schema": health}}
        answers: dict[str, Any] = {"200": {"description": "Yes.", "content": content}}
        if name == "readyz":
            answers["503"] = {"description": "Not now.", "content": content}
        operation = {
            "tags": ["health"],
            "operationId": name,
            "summary": says,
            "description": says,
            "security": [{}],
            "responses": answers,
        }
        yield path, {"get": operation}


def path_parameter(name: str, description: str, example: str) -> dict[str, Any]:
    """A part of the path."""
    schema = {"type": "string", "examples": [example]}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}
