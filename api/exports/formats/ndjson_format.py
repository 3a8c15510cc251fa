"""NDJSON: one JSON object a line, as pages have it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from api.exports.formats.arrow_columns import text_of
from api.exports.formats.export_format import StreamedFormat
from api.http import negotiation
from catalog.model.dataset import Property


class LineWriter:
    """Lines that Postgres has made."""

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def write(self, batch: pa.RecordBatch) -> memoryview:
        """The lines, each with its end."""
        return text_of(batch.column(0))

    def end(self) -> bytes:
        """Nothing."""
        return b""


def make_writer(properties: Sequence[Property], schema: pa.Schema) -> LineWriter:
    """The writer of any properties: their lines are made already."""
    return LineWriter()


NDJSON = StreamedFormat(
    negotiation.NDJSON.name,
    negotiation.NDJSON.content_type,
    negotiation.NDJSON.aliases,
    text=True,
    lines=True,
    make_writer=make_writer,
)
