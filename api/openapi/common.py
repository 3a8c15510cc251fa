"""The operations that do not depend on any contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.openapi.parts import UNCHANGED, path_parameter, problem_answers


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
            "/data/{product}/v{major}/contract",
            "get_contract",
            "The contract of a product",
            "As YAML or JSON (ODCS), without what you may not know of.",
            [product, major],
            {"type": "object"},
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
        forms = {"application/json": {"schema": schema}}
        if name == "get_contract":
            forms = {"application/yaml": {"schema": schema}} | forms
        content = {"description": summary, "content": forms}
        operation = {
            "tags": ["catalogue"],
            "operationId": name,
            "summary": summary,
            "description": says,
            "security": security,
            "parameters": parameters,
            "responses": {"200": content, "304": UNCHANGED, **problem_answers(401, 404, 406, 410, 422, 429, 503)},
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
    text = {"description": "The figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    metrics = {
        "tags": ["health"],
        "operationId": "metrics",
        "summary": "Figures for Prometheus",
        "description": "Requests, latencies, cache, connections, datasets, loads; summed over the processes"
        " that serve together. Needs the scope `ops:read`, unless the service says otherwise.",
        "security": security,
        "responses": {"200": text, **problem_answers(401, 403, 429, 503)},
    }
    yield "/metrics", {"get": metrics}
