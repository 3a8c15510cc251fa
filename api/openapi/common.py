"""The operations that do not depend on any contract."""

from __future__ import annotations

from collections.abc import Iterator

from api.auth.permissions import SERVED
from api.metadata.catalog_search import FACETS, FRESH
from api.openapi_parts.parts import EXPLODED, UNCHANGED, PathItem, in_data, parameter, path_parameter, problem_answers
from catalog.types.filter_operators import PATTERN_MAXIMUM_CHARACTERS
from runtime.json_types import JsonObject

THING: JsonObject = in_data({"type": "object"})
FACETS_FOUND: JsonObject = {
    "type": "object",
    "required": list(FACETS),
    "properties": {
        facet: {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["value", "count"],
                "properties": {
                    "value": {"type": "boolean" if facet == "fresh" else "string"},
                    "count": {"type": "integer", "minimum": 1},
                },
            },
        }
        for facet in FACETS
    },
}
CATALOGUE: JsonObject = {
    "type": "object",
    "required": ["data", "facets"],
    "properties": {"data": {"type": "array", "items": {"type": "object"}}, "facets": FACETS_FOUND},
}
HEALTH: JsonObject = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}


def common_paths() -> Iterator[tuple[str, PathItem]]:
    """The operations that do not depend on any contract."""
    yield from catalogue_paths()
    yield from health_paths()
    yield "/metrics", {"get": metrics_operation()}


def anybody() -> list[JsonObject]:
    """With a credential or without one."""
    return [{}, {"bearer": []}, {"header": []}]


def catalogue_paths() -> Iterator[tuple[str, PathItem]]:
    """What there is to read."""
    product = path_parameter("product", "The product's id.", "nyc-flights")
    major = path_parameter("major", "The major version of the product.", "1")
    dataset = path_parameter("dataset", "The dataset's name.", "flights")
    in_json: JsonObject = {"application/json": {"schema": THING}}
    yield (
        "/data",
        catalogue_operation(
            "list_products",
            "List products and datasets",
            "Products and datasets that you may read. With `q` the best matches come first, and `matched` of each"
            " dataset says where the words were found. `facets` counts datasets by value, regardless of the facet's"
            " own parameter.",
            search_parameters(),
            {"application/json": {"schema": CATALOGUE}},
        ),
    )
    yield (
        "/data/{product}/v{major}",
        catalogue_operation(
            "get_product",
            "One product",
            "Its description, owner, service levels and datasets.",
            [product, major],
            in_json,
        ),
    )
    yield (
        "/data/{product}/v{major}/contract",
        catalogue_operation(
            "get_contract",
            "The contract of a product",
            "As YAML or JSON (ODCS), without parts that you may not see.",
            [product, major],
            {media_type: {"schema": {"type": "object"}} for media_type in ("application/yaml", "application/json")},
        ),
    )
    yield (
        "/data/{product}/v{major}/{dataset}",
        catalogue_operation(
            "get_dataset",
            "One dataset",
            "Its properties, key and current revision.",
            [product, major, dataset],
            in_json,
        ),
    )


def search_parameters() -> list[JsonObject]:
    """What narrows the catalogue."""
    words: JsonObject = {
        "type": "string",
        "minLength": 1,
        "maxLength": PATTERN_MAXIMUM_CHARACTERS,
        "examples": ["delay"],
    }
    offered = {"status": list(SERVED), "fresh": list(FRESH)}
    about = {
        "product": "Ids of products.",
        "tag": "Tags of the dataset or its product.",
        "status": "Of the product.",
        "fresh": "Whether the promised latency is kept.",
    }
    found = [parameter("q", "Words that names, descriptions, tags or properties begin with, all of them.", words)]
    for facet in FACETS:
        item: JsonObject = (
            {"type": "string", "enum": offered[facet]} if facet in offered else {"type": "string", "minLength": 1}
        )
        schema: JsonObject = {"type": "array", "minItems": 1, "items": item}
        found.append(parameter(facet, f"{about[facet]} One of several is enough.", schema) | EXPLODED)
    return found


def catalogue_operation(
    name: str, summary: str, description: str, parameters: list[JsonObject], media_types: JsonObject
) -> PathItem:
    """A GET of a part of the catalogue, answered in these forms."""
    content: JsonObject = {"description": summary, "content": media_types}
    operation: JsonObject = {
        "tags": ["catalogue"],
        "operationId": name,
        "summary": summary,
        "description": description,
        "security": anybody(),
        "parameters": parameters,
        "responses": {"200": content, "304": UNCHANGED, **problem_answers(401, 404, 406, 410, 422, 429, 503)},
    }
    return {"get": operation}


def health_paths() -> Iterator[tuple[str, PathItem]]:
    """For monitoring of the service."""
    content: JsonObject = {"application/json": {"schema": HEALTH}}
    for path, name, description in (
        ("/livez", "livez", "200 while the process responds."),
        ("/readyz", "readyz", "200 if requests can be served, otherwise 503."),
    ):
        answers: JsonObject = {"200": {"description": "Yes.", "content": content}}
        if name == "readyz":
            answers["503"] = {"description": "Not now.", "content": content}
        operation: JsonObject = {
            "tags": ["health"],
            "operationId": name,
            "summary": description,
            "description": description,
            "security": [{}],
            "responses": answers,
        }
        yield path, {"get": operation}


def metrics_operation() -> JsonObject:
    """The figures of the service."""
    text: JsonObject = {"description": "The figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "tags": ["health"],
        "operationId": "metrics",
        "summary": "Metrics for Prometheus",
        "description": "Requests, latencies, cache, connections, datasets, loads; summed over all"
        " processes of the service. Needs the scope `ops:read`, unless the service opens it.",
        "security": anybody(),
        "responses": {"200": text, **problem_answers(401, 403, 429, 503)},
    }
