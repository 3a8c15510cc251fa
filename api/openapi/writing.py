"""Documents as bytes, written part by part.

Of a large document the objects are never there at once: collecting and freeing millions of them would stop every
thread of the process, as would writing them in one piece.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from api.openapi.document import Parts, build_common, frame_document, settle_operations
from api.openapi.security import security_schemes
from catalog.model.catalog import Catalog
from runtime.json_types import Json, JsonObject
from runtime.settings.token_issuers import TokenIssuer


class Writer:
    """Takes the parts of a document one by one, and keeps their text."""

    def __init__(self, issuers: Sequence[TokenIssuer]) -> None:
        self.issuers = issuers
        self.tags: list[bytes] = []
        self.schemas: dict[str, bytes] = {}
        self.parameters: dict[str, bytes] = {}
        self.responses: dict[str, bytes] = {}
        self.paths: dict[str, bytes] = {}
        self.size = 0
        self.add(build_common())

    def add(self, parts: Parts) -> None:
        """Writes parts, which are settled hereby."""
        responses = settle_operations(parts.paths, self.issuers)
        for tag in parts.tags:
            self.tags.append(encode(tag))
            self.size += len(self.tags[-1])
        members = (
            (self.schemas, parts.schemas),
            (self.parameters, parts.parameters),
            (self.responses, responses),
            (self.paths, parts.paths),
        )
        for written, values in members:
            for name, value in values.items():
                text = encode(value)
                self.size += len(text) - len(written.get(name, b""))  # parts may share a component
                written[name] = text

    def document(self, catalog: Catalog, server: str, index: Sequence[JsonObject]) -> bytes:
        """The document of these parts; `index` names the documents of products."""
        components = [
            b'"schemas":' + join(self.schemas),
            b'"parameters":' + join(self.parameters),
            b'"responses":' + join(self.responses),
            b'"securitySchemes":' + encode(security_schemes(catalog, self.issuers)),
        ]
        members = [encode(name) + b":" + encode(value) for name, value in frame_document(server).items()] + [
            b'"tags":[' + b",".join(self.tags) + b"]",
            b'"paths":' + join(self.paths),
            b'"components":{' + b",".join(components) + b"}",
            b'"x-documents":' + encode(index),
        ]
        return b"{" + b",".join(members) + b"}"


def encode(value: Json) -> bytes:
    """A value as JSON, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def join(members: Mapping[str, bytes]) -> bytes:
    """An object of members that are written already."""
    return b"{" + b",".join(encode(name) + b":" + text for name, text in members.items()) + b"}"
