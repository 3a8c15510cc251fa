"""The catalogue as DCAT (DCAT-AP 3), in JSON-LD."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from api.exports.formats import FORMATS
from api.http.negotiation import MediaType
from api.portal.asking import Asking
from api.portal.discovery.document import Document
from api.portal.pages.catalogue import Entry, entries_of

JSON_LD = MediaType("json-ld", "application/ld+json")
CONTEXT: dict[str, Any] = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "adms": "http://www.w3.org/ns/adms#",
    "dcat:landingPage": {"@type": "@id"},
    "dcat:accessURL": {"@type": "@id"},
    "dcat:downloadURL": {"@type": "@id"},
    "dcat:endpointURL": {"@type": "@id"},
    "dcat:endpointDescription": {"@type": "@id"},
    "dcat:servesDataset": {"@type": "@id"},
    "dcat:mediaType": {"@type": "@id"},
    "dct:issued": {"@type": "xsd:dateTime"},
    "dct:modified": {"@type": "xsd:dateTime"},
}
MEDIA_TYPES = "https://www.iana.org/assignments/media-types/"


async def build_catalog(asking: Asking) -> bytes:
    """The catalogue, its datasets with their files, and the API that serves them."""
    reply = await asking.get("/data")
    return await asyncio.to_thread(lambda: write_catalog(asking.origin, reply.data))


def write_catalog(origin: str, products: list[dict[str, Any]]) -> bytes:
    """The same, of what the catalogue says of products."""
    entries = list(entries_of(products))
    publisher = {"@id": f"{origin}/#publisher", "@type": "foaf:Agent", "foaf:name": "The owners of this service"}
    service = {
        "@id": f"{origin}/data",
        "@type": "dcat:DataService",
        "dct:title": "Decant API",
        "dcat:endpointURL": f"{origin}/data",
        "dcat:endpointDescription": f"{origin}/openapi.json",
        "dcat:servesDataset": [origin + entry.path for entry in entries],
    }
    catalog = {
        "@context": CONTEXT,
        "@id": f"{origin}/catalog.jsonld",
        "@type": "dcat:Catalog",
        "dct:title": "Data catalogue",
        "dct:description": "Curated datasets, each in whole, checked revisions.",
        "dct:publisher": publisher,
        # Each is written by itself: no other thread runs while one value is written.
        "dcat:dataset": [orjson.Fragment(orjson.dumps(describe_dataset(origin, entry))) for entry in entries],
        "dcat:service": [service],
    }
    return orjson.dumps(catalog)


def describe_dataset(origin: str, entry: Entry) -> dict[str, Any]:
    """One dataset; its files are those of the current revision."""
    dataset, page = entry.dataset, origin + entry.path
    found: dict[str, Any] = {
        "@id": page,
        "@type": "dcat:Dataset",
        "dct:identifier": f"{entry.product['product']}/v{entry.product['major']}/{dataset['dataset']}",
        "dct:title": f"{entry.product['name']}: {dataset['dataset']}",
        "dct:description": dataset["description"] or entry.product["purpose"] or dataset["dataset"],
        "dcat:landingPage": page,
        "dcat:version": str(dataset["revision"]),
    }
    if dataset["published_at"]:
        found["dct:modified"] = dataset["published_at"]
        found["dcat:distribution"] = [
            {
                "@id": f"{origin}{entry.dataset_path}/export?format={kind.name}",
                "@type": "dcat:Distribution",
                "dct:title": kind.name,
                "dcat:accessURL": f"{origin}{entry.dataset_path}",
                "dcat:downloadURL": f"{origin}{entry.dataset_path}/export?format={kind.name}",
                "dcat:mediaType": MEDIA_TYPES + kind.bare_type,
            }
            for kind in FORMATS
        ]
    return found


CATALOG = Document("catalog.jsonld", "/catalog.jsonld", JSON_LD, build_catalog)
