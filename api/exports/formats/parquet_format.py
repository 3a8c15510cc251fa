"""Parquet: columns for warehouses and data frames, kept as a file so that readers can take ranges of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from api.exports.formats.arrow_columns import typed_batch, typed_schema
from api.exports.formats.export_format import Batches, FiledFormat, SizeModel
from catalog.model.dataset import Property

ROW_GROUP_RECORDS = 122_880


def write_parquet(path: Path, batches: Batches, properties: Sequence[Property]) -> None:
    """Nothing comes back; the file has row groups of a size that readers like."""
    schema = typed_schema(properties, batches.schema)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        while (batch := batches.next_batch()) is not None:
            waiting.append(typed_batch(batch, schema))
            if sum(part.num_rows for part in waiting) >= ROW_GROUP_RECORDS:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting.clear()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema))


PARQUET = FiledFormat(
    "parquet",
    "application/vnd.apache.parquet",
    ("application/x-parquet",),
    size=SizeModel(factor=0.2, empty=200, of_property=300, of_description=2.4),
    write_file=write_parquet,
)
