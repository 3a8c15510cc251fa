"""One dataset as Croissant 1.1, for tools of machine learning; and as schema.org has it, for search engines."""

from __future__ import annotations

import re
import zlib
from typing import Any

import orjson

from api.portal.asking import Asking
from api.portal.discovery.dcat import JSON_LD
from api.portal.discovery.document import Document
from api.portal.pages.catalogue import owner_of
from api.portal.pages.subject import Subject, find_subject

SPECIFICATION = "http://mlcommons.org/croissant/1.1"
NAMES = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
DATA_TYPES = {
    "integer": "sc:Integer",
    "smallint": "sc:Integer",
    "number": "sc:Float",
    "boolean": "sc:Boolean",
    "date": "sc:Date",
    "timestamp": "sc:DateTime",
    "local timestamp": "sc:DateTime",
}
FILE = "csv"


async def build_croissant(asking: Asking) -> bytes:
    """The dataset at its current revision: one file, and a field for each property."""
    subject = await find_subject(asking)
    dataset = subject.dataset
    masked = {prop["name"] for prop in dataset["properties"] if prop["masked"]}
    found = describe(asking.origin, subject)
    found |= {
        "@context": NAMES,
        "@type": "sc:Dataset",
        "conformsTo": SPECIFICATION,
        "isLiveDataset": True,  # files are made when they are asked for: none has a digest before
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": FILE,
                "name": FILE,
                "contentUrl": f"{asking.origin}{subject.path}/export?format={FILE}&at={dataset['revision']}",
                "encodingFormat": "text/csv",
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "key": [{"@id": field_id(name)} for name in dataset["key"] if name not in masked],
                "field": [describe_field(prop) for prop in dataset["properties"] if not prop["masked"]],
            }
        ],
    }
    return orjson.dumps(found)


def describe(origin: str, subject: Subject) -> dict[str, Any]:
    """What schema.org and Croissant have in common."""
    product, dataset = subject.product, subject.dataset
    owner = owner_of(product)
    found: dict[str, Any] = {
        "name": f"{product['name']}: {dataset['dataset']}",
        "description": dataset["description"] or product["purpose"],
        "url": origin + subject.page,
        "version": f"{product['version']}+{dataset['revision']}",
        "isAccessibleForFree": bool(dataset["open"]),
        "keywords": [*(product.get("tags") or []), product["product"]],
    }
    if dataset["published_at"]:
        found["datePublished"] = found["dateModified"] = dataset["published_at"]
    return found | ({"creator": {"@type": "Organization", "name": owner}} if owner else {})


def field_id(name: str) -> str:
    """The id of a property's field: without blanks and signs, which readers refuse, and the same for no other."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    mark = f"-{zlib.crc32(name.encode()):08x}" if plain != name else ""
    return f"records/{plain}{mark}"


def describe_field(prop: dict[str, Any]) -> dict[str, Any]:
    """One property as a field."""
    return {
        "@type": "cr:Field",
        "@id": field_id(prop["name"]),
        "name": prop["name"],
        "description": prop["description"] or prop["name"],
        "dataType": DATA_TYPES.get(prop["type"], "sc:Text"),
        "source": {"fileObject": {"@id": FILE}, "extract": {"column": prop["name"]}},
    }


CROISSANT = Document("croissant", "/browse/{product}/v{major}/{dataset}/croissant.json", JSON_LD, build_croissant)
