"""An Arrow IPC stream: columns for programs, exact types included."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from api.exports.formats.arrow_columns import typed_batch, typed_schema
from api.exports.formats.export_format import SizeModel, StreamedFormat
from catalog.model.dataset import Property


class ArrowWriter:
    """An Arrow IPC stream; its end is marked, so one that was cut off is known."""

    def __init__(self, properties: Sequence[Property], schema: pa.Schema) -> None:
        self.schema = typed_schema(properties, schema)
        self.sink = io.BytesIO()
        self.writer: Any = None

    def begin(self) -> bytes:
        """The schema."""
        self.writer = pa.ipc.new_stream(self.sink, self.schema)
        return self.taken()

    def write(self, batch: pa.RecordBatch) -> bytes:
        """The batch as a message."""
        self.writer.write_batch(typed_batch(batch, self.schema))
        return self.taken()

    def end(self) -> bytes:
        """The mark of the end."""
        self.writer.close()
        return self.taken()

    def taken(self) -> bytes:
        """What was written since it was last asked for."""
        data = self.sink.getvalue()
        self.sink.seek(0)
        self.sink.truncate()
        return data


ARROW = StreamedFormat(
    "arrow",
    "application/vnd.apache.arrow.stream",
    size=SizeModel(factor=0.8, empty=100, of_property=160, of_description=1.0),
    make_writer=ArrowWriter,
)
