"""Exports that are written from front to back: CSV, NDJSON, Arrow; in a content coding where one is asked for."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pyarrow as pa
import zstandard

from api.exports.arrow_columns import csv_lines, text_of, typed_batch, typed_schema
from api.exports.formats import ARROW
from api.http.negotiation import CSV, GZIP_LEVEL, ZSTD_LEVEL, Form
from api.sql.csv_lines import csv_header
from catalog.model.dataset import Property

GZIP_WINDOW = 31  # zlib's word for the gzip format


class Writer(Protocol):
    """Turns batches into bytes."""

    def begin(self) -> bytes:
        """What stands before the first record."""

    def write(self, batch: pa.RecordBatch) -> bytes | memoryview:
        """A batch."""

    def end(self) -> bytes:
        """What stands behind the last record."""


class CsvWriter:
    """Lines of CSV under a header."""

    def __init__(self, properties: Sequence[Property]) -> None:
        self.properties = properties

    def begin(self) -> bytes:
        """The header."""
        return csv_header(self.properties).encode()

    def write(self, batch: pa.RecordBatch) -> memoryview:
        """A line for each record."""
        return csv_lines(batch, self.properties)

    def end(self) -> bytes:
        """Nothing."""
        return b""


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


def make_writer(form: Form, properties: Sequence[Property], schema: pa.Schema) -> Writer:
    """The writer of a form."""
    if form is CSV:
        return CsvWriter(properties)
    return ArrowWriter(properties, schema) if form is ARROW else LineWriter()


def make_coder(coding: str) -> tuple[Callable[[bytes | memoryview], bytes | memoryview], Callable[[], bytes]]:
    """What encodes a piece, and what ends the encoding."""
    if coding == "identity":
        return lambda piece: piece, lambda: b""
    if coding == "zstd":
        zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        return zstd.compress, zstd.flush
    gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    return gzip.compress, gzip.flush
