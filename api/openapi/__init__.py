"""The OpenAPI 3.1 document of the service."""

from api.openapi.document import build_document, is_current, render_document, write_document

__all__ = ["build_document", "is_current", "render_document", "write_document"]
