"""The file formats of exports: each in a file of its own, and a line of `FORMATS`."""

from __future__ import annotations

from api.exports.formats.arrow_format import ARROW
from api.exports.formats.csv_format import CSV
from api.exports.formats.export_format import FiledFormat, StreamedFormat
from api.exports.formats.ndjson_format import NDJSON
from api.exports.formats.parquet_format import PARQUET
from api.exports.formats.xlsx_format import XLSX

FORMATS: list[StreamedFormat | FiledFormat] = [
    CSV,
    NDJSON,
    PARQUET,
    ARROW,
    XLSX,
]
