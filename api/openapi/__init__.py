"""The OpenAPI 3.1 document of the service."""

from api.openapi.document import build_dataset, build_document, is_current, render_document, write_document
from api.openapi.writing import Writer

__all__ = ["Writer", "build_dataset", "build_document", "is_current", "render_document", "write_document"]
