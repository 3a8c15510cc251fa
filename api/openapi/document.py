"""The OpenAPI 3.1 document, made from the contracts: typed operations, descriptions and examples for each dataset.

The requests themselves run through a handful of parametrised routes; only this document knows each dataset's types.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from api.openapi.common import common_paths
from api.openapi.events import event_paths, event_schemas, raw_schema, takes_events
from api.openapi.inspection import inspection_paths, inspection_schemas
from api.openapi.keys import TAG as KEYS_TAG
from api.openapi.keys import key_paths
from api.openapi.operations import TAG, load_schema, operation_paths
from api.openapi.parts import problem_answers, problem_schema, schema_name, tag_of
from api.openapi.quarantine import quarantine_paths
from api.openapi.questions import question_paths
from api.openapi.records import common_facts, dataset_paths, page_schema, record_schema
from api.openapi.security import security_schemes, settle_security
from catalog.contract import Catalog
from catalog.settings import TokenIssuer

VERSION = "0.1.0"
EVERYWHERE = (400, 414, 431)  # of requests that are no business of any route
DESCRIPTION = """Curated datasets, each in whole, checked revisions.

Read a page of `/records`, follow `next` until it is null: a walk sees each record of the revision in which it began
exactly once, whatever is published meanwhile. Every response says in `Decant-Revision` which revision it read.

Filters are parameters such as `carrier=UA` or `distance[gte]=1000`; unknown parameters are refused, never ignored.
Errors are problems (RFC 9457) with a stable `code`.
"""


def build_document(
    catalog: Catalog,
    limited: frozenset[str] = frozenset(),
    issuers: Sequence[TokenIssuer] = (),
    server: str = "/",
) -> dict[str, Any]:
    """The whole document for these products.

    `limited` are the datasets of which only some records are seen, `issuers` those whose tokens are taken, and
    `server` is where the paths begin.
    """
    schemas: dict[str, Any] = {"Problem": problem_schema(), "Load": load_schema(), **inspection_schemas()}
    paths: dict[str, Any] = (
        dict(common_paths()) | dict(operation_paths()) | dict(quarantine_paths()) | dict(key_paths())
    )
    tags = [
        {"name": "catalogue", "description": "What datasets there are."},
        {"name": "health", "description": "For machines that watch the service."},
        TAG,
        KEYS_TAG,
    ]
    for product in catalog.products.values():
        if product.status not in {"active", "deprecated"}:
            continue
        for dataset in product.datasets.values():
            tags.append({"name": tag_of(dataset), "description": dataset.description or dataset.title})
            schemas[schema_name(dataset)] = record_schema(dataset)
            schemas[f"{schema_name(dataset)}Page"] = page_schema(dataset)
            paths |= dataset_paths(product, dataset)
            common = common_facts(product, dataset)
            paths |= question_paths(dataset, common)
            paths |= inspection_paths(dataset, common, limited=dataset.address in limited)
            if takes_events(dataset):
                schemas |= event_schemas() | {f"{schema_name(dataset)}Raw": raw_schema(dataset)}
                paths |= event_paths(product, dataset)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Decant",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "contact": {"name": "The owners of this service"},
        },
        "servers": [{"url": server}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": security_schemes(catalog, issuers),
        },
    }
    for operations in paths.values():
        for operation in operations.values():
            answers = operation["responses"] | problem_answers(*EVERYWHERE)
            operation["responses"] = dict(sorted(answers.items()))
    settle_security(document, tokens=any(issuer.token_url for issuer in issuers))
    return document


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
