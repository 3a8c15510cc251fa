"""The export of a dataset: a redirect to a fixed revision, a stream, or a file in pieces."""

from __future__ import annotations

from typing import cast

from starlette.types import Receive, Send

from api.datasets.kind import Asked, send_answer
from api.exports.formats import FORMATS
from api.exports.formats.export_format import FiledFormat, StreamedFormat
from api.exports.query import parse_export
from api.exports.resources import ExportResources
from api.exports.sending import Sending
from api.http.negotiation import MediaType
from api.openapi_parts.names import operation_id
from api.openapi_parts.parameters import (
    at_parameter,
    epoch_parameter,
    page_parameters,
)
from api.openapi_parts.parts import UNCHANGED, parameter, problem_answers
from api.query.pagination import LINK_LIMIT_BYTES
from api.query.question import Question, Target
from api.query.view import View
from catalog.model.dataset import Dataset
from runtime.json_types import JsonObject


class Export:
    """All records that the filters leave, as a file."""

    name = "export"
    path = "/export"
    linked = True

    @property
    def media_types(self) -> tuple[MediaType, ...]:
        """The file formats."""
        return tuple(FORMATS)

    def parse(self, view: View, target: Target) -> Question:
        """The question of an export."""
        return parse_export(view, target)

    def describe(self, dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
        """Its operation."""
        return export_operation(dataset, filters)

    async def deliver(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Sends the export, or the address of it at its revision. Problems are raised until something has left."""
        if (location := pinned_address(asked)) is not None:
            await send_answer(asked, send, 307, [(b"location", location.encode()), *asked.common])
            return
        resources: ExportResources = asked.scope["app"].state.exports
        await Sending(asked, cast(StreamedFormat | FiledFormat, asked.media_type), resources).send(receive, send)


def pinned_address(asked: Asked) -> str | None:
    """The address of the same export at its revision, where that is where it is found: files are kept there."""
    pin, question, target = asked.pin, asked.question, asked.question.query.target
    if not question.query.is_whole or pin.fixed or not pin.revision:
        return None
    query = target.query_string.decode("ascii", "replace")
    named = f"at={pin.revision}" if question.epoch else f"at={pin.revision}&epoch={pin.epoch}"
    location = f"{target.path}?{query}{'&' if query else ''}{named}"
    most = min(LINK_LIMIT_BYTES, asked.context.settings.url_limit_bytes)
    return location if len(location) <= most else None


def export_operation(dataset: Dataset, filters: list[JsonObject]) -> JsonObject:
    """The dataset as a file."""
    text, binary = {"type": "string"}, {"type": "string", "format": "binary"}
    content: JsonObject = {
        media_type.bare_type: {"schema": text if media_type.text else binary} for media_type in FORMATS
    }
    shared = [p for p in page_parameters(dataset) if p["name"] in {"sort", "properties", "q"}]
    names = {"type": "string", "enum": [media_type.name for media_type in FORMATS]}
    headers: JsonObject = {
        "Location": {"description": "The URL of the same export at its revision.", "schema": {"type": "string"}}
    }
    return {
        "operationId": operation_id("export", dataset),
        "summary": f"Export {dataset.name} as a file",
        "description": "All records of one revision that match the filters. Without filter and `at` the response"
        " redirects to the URL of the current revision. Parquet and Excel files are cached, and served in ranges.",
        "parameters": [
            parameter("format", "The format of the file; by default `Accept` decides.", names),
            *shared,
            at_parameter(),
            epoch_parameter(),
            *filters,
        ],
        "responses": {
            "200": {"description": "The records.", "content": content},
            "206": {"description": "The requested ranges of the file.", "content": content},
            "304": UNCHANGED,
            "307": {"description": "Redirect to the export at the current revision.", "headers": headers},
            **problem_answers(401, 404, 406, 410, 416, 422, 429, 503, 504),
        },
    }
