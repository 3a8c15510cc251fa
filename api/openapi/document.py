"""The OpenAPI 3.1 document, made from the contracts: typed operations, descriptions and examples for each dataset.

The requests themselves run through a handful of parametrised routes; only this document knows each dataset's types.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from api.datasets.kind import Kind
from api.kinds import KINDS
from api.openapi.common import common_paths
from api.openapi.erasures import erasure_paths
from api.openapi.filters import filter_components, references
from api.openapi.keys import TAG as KEYS_TAG
from api.openapi.keys import key_paths
from api.openapi.loads import TAG, load_schema, operation_paths
from api.openapi.metadata import inspection_paths, inspection_schemas
from api.openapi.push import event_paths, event_schemas, raw_schema
from api.openapi.quarantine import quarantine_paths
from api.openapi.records import common_facts, page_schema, record_schema
from api.openapi.security import security_schemes, settle_security
from api.openapi.status import status_paths
from api.openapi.subscriptions import TAG as SUBSCRIPTIONS_TAG
from api.openapi.subscriptions import subscription_paths
from api.openapi_parts.names import PAGE, RAW, schema_name, tag_of
from api.openapi_parts.parts import Paths, problem_answers, problem_responses, problem_schema
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, Product, takes_events
from runtime.json_types import JsonObject
from runtime.settings.token_issuers import TokenIssuer
from runtime.version import read_version

EVERYWHERE = (400, 414, 431)  # of requests that are no business of any route
DESCRIPTION = """Curated datasets, each in whole, checked revisions.

Read a page of `/records`, follow `next` until it is null: a walk sees each record of the revision in which it began
exactly once, whatever is published meanwhile. Every response says in `Decant-Revision` which revision it read.

Filters are parameters such as `carrier=UA` or `distance[gte]=1000`; unknown parameters are refused, never ignored.
Errors are problems (RFC 9457) with a stable `code`.
"""


@dataclass
class Parts:
    """What a document is put together from."""

    tags: list[JsonObject] = field(default_factory=list)
    schemas: JsonObject = field(default_factory=dict)
    parameters: JsonObject = field(default_factory=dict)
    paths: Paths = field(default_factory=dict)

    def add(self, other: Parts) -> None:
        """Adds what other parts hold."""
        self.tags += other.tags
        self.schemas |= other.schemas
        self.parameters |= other.parameters
        self.paths |= other.paths


def build_document(
    catalog: Catalog,
    row_filtered: frozenset[str] = frozenset(),
    issuers: Sequence[TokenIssuer] = (),
    server: str = "/",
) -> JsonObject:
    """The whole document for these products.

    `row_filtered` are the datasets of which only some records are seen, `issuers` those whose tokens are taken, and
    `server` is where the paths begin.
    """
    parts = [build_product(product, row_filtered) for product in catalog.products.values()]
    return assemble_document(parts, catalog, issuers, server)


def assemble_document(
    products: Iterable[Parts], catalog: Catalog, issuers: Sequence[TokenIssuer] = (), server: str = "/"
) -> JsonObject:
    """The document with the common operations and those of products.

    `catalog` has the products whose scopes are offered.
    """
    parts = build_common()
    for product in products:
        parts.add(product)
    responses = settle_operations(parts.paths, issuers)
    components: JsonObject = {
        "schemas": parts.schemas,
        "parameters": parts.parameters,
        "responses": responses,
        "securitySchemes": security_schemes(catalog, issuers),
    }
    return frame_document(server) | {"tags": parts.tags, "paths": parts.paths, "components": components}


def frame_document(server: str) -> JsonObject:
    """What a document has beside its parts."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Decant",
            "version": read_version(),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "contact": {"name": "The owners of this service"},
        },
        "servers": [{"url": server}],
    }


def settle_operations(paths: Paths, issuers: Sequence[TokenIssuer]) -> JsonObject:
    """Says of every operation what all have in common, and which scopes it needs; gives the answers it refers to."""
    used = set()
    for operations in paths.values():
        for operation in operations.values():
            answers = operation["responses"] | problem_answers(*EVERYWHERE)
            operation["responses"] = dict(sorted(answers.items()))
            used |= {answer["$ref"] for answer in answers.values() if "$ref" in answer}
    settle_security(paths, tokens=any(issuer.token_url for issuer in issuers))
    return problem_responses(used)


def build_common() -> Parts:
    """What every document has."""
    tags: list[JsonObject] = [
        {"name": "catalogue", "description": "Available products and datasets."},
        {"name": "health", "description": "For monitoring of the service."},
        TAG,
        KEYS_TAG,
        SUBSCRIPTIONS_TAG,
    ]
    schemas: JsonObject = {"Problem": problem_schema(), "Load": load_schema(), **inspection_schemas()}
    operators = (operation_paths(), status_paths(), quarantine_paths(), erasure_paths())
    paths = dict(chain(common_paths(), *operators, key_paths(), subscription_paths()))
    return Parts(tags, schemas, {}, paths)


def build_product(product: Product, row_filtered: frozenset[str] = frozenset()) -> Parts:
    """What a document says of one product; nothing where it is not served."""
    parts = Parts()
    if product.status in {"active", "deprecated"}:
        for dataset in product.datasets.values():
            parts.add(build_dataset(product, dataset, row_filtered=dataset.address in row_filtered))
    return parts


def build_dataset(product: Product, dataset: Dataset, *, row_filtered: bool = False) -> Parts:
    """What a document says of one dataset; `row_filtered`: where only some of its records are seen."""
    name = schema_name(dataset)
    components = filter_components(dataset)
    filters = references(components)
    common = common_facts(product, dataset)
    tags: list[JsonObject] = [{"name": tag_of(dataset), "description": dataset.description or dataset.title}]
    schemas: JsonObject = {name: record_schema(dataset), name + PAGE: page_schema(dataset)}
    paths = {dataset.path + path_of(kind): {"get": common | kind.describe(dataset, filters)} for kind in KINDS}
    paths |= inspection_paths(dataset, common, row_filtered=row_filtered)
    if takes_events(dataset):
        schemas |= event_schemas() | {name + RAW: raw_schema(dataset)}
        paths |= event_paths(product, dataset)
    return Parts(tags, schemas, dict(components), paths)


def path_of(kind: Kind) -> str:
    """The path of a kind of question, as OpenAPI writes it: without the converters of the routes."""
    return kind.path.replace(":path}", "}")


def render_document(document: JsonObject) -> str:
    """The document as text: the same contracts give the same bytes."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def write_document(catalog: Catalog, path: Path) -> None:
    """Writes the document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_document(build_document(catalog)), encoding="utf-8")


def is_current(catalog: Catalog, path: Path) -> bool:
    """Whether the document in `path` is what the contracts say."""
    return path.exists() and path.read_text(encoding="utf-8") == render_document(build_document(catalog))
