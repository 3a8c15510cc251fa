"""CSV (RFC 4180): text for tools of every kind, and for spreadsheets that must not take a cell for a formula."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from api.exports.formats.arrow_columns import csv_lines
from api.exports.formats.export_format import StreamedFormat
from api.http import negotiation
from api.sql.csv_lines import csv_header
from catalog.model.dataset import Property


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


def make_writer(properties: Sequence[Property], schema: pa.Schema) -> CsvWriter:
    """The writer of these properties; the schema says nothing more."""
    return CsvWriter(properties)


CSV = StreamedFormat(
    negotiation.CSV.name, negotiation.CSV.content_type, text=True, lists=False, make_writer=make_writer
)
