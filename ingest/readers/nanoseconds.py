"""Finds rows of a Parquet file whose timestamps are finer than DuckDB reads.

Of nanoseconds in UTC, and of Impala's twelve-byte moments, DuckDB keeps microseconds and says nothing; pyarrow reads
them whole. Only columns that hold such a type are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.errors import SourceError

BATCH_ROWS = 10_000
# Beyond it, nanoseconds since 1970 do not fit into 64 bits: such a twelve-byte moment is not checked.
REACH_MICROSECONDS = 9_223_000_000_000_000


def find_too_fine(path: Path, columns: list[str]) -> Iterator[int]:
    """The numbers of the rows, from 1 and ascending, whose moments have nanoseconds that would be cut off."""
    with pq.ParquetFile(path) as fine, pq.ParquetFile(path, coerce_int96_timestamp_unit="us") as coarse:
        wanted = [name for name in list_fine_columns(fine) if name in columns]
        if not wanted:
            return
        first = 1
        batches = (file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False) for file in (fine, coarse))
        for ours, theirs in zip(*batches, strict=True):
            found: set[int] = set()
            for name in wanted:
                found.update(find_in(ours.column(name), theirs.column(name), name).to_pylist())
            yield from (first + index for index in sorted(found))
            first += ours.num_rows


def list_fine_columns(file: pq.ParquetFile) -> list[str]:
    """The columns of the file that hold moments of which DuckDB drops digits."""
    found: dict[str, None] = {}
    for index in range(len(file.schema)):
        leaf = file.schema.column(index)
        kind = str(leaf.logical_type)
        if leaf.physical_type == "INT96" or ("isAdjustedToUTC=true" in kind and "nanoseconds" in kind):
            found[leaf.path.split(".")[0]] = None
    names = file.schema_arrow.names
    return [name for name in names if name in found or name.split(".")[0] in found]


def find_in(fine: pa.Array, coarse: pa.Array, name: str) -> pa.Array:
    """The places in an array at which a moment has nanoseconds; one place may come more than once."""
    kind = fine.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pc.indices_nonzero(pc.fill_null(has_nanoseconds(fine, coarse), False))
    if pa.types.is_struct(kind):
        parts = [find_in(a, b, name) for a, b in zip(fine.flatten(), coarse.flatten(), strict=True)]
        return pa.concat_arrays(parts) if parts else pa.array([], pa.uint64())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = find_in(fine.flatten(), coarse.flatten(), name)
        return pc.list_parent_indices(fine).take(inner).cast(pa.uint64())
    if pa.types.is_map(kind) and any(is_fine(part) for part in (kind.key_type, kind.item_type)):
        raise SourceError(f"The column {name!r} has maps with timestamps in nanoseconds, which are not supported.")
    return pa.array([], pa.uint64())


def is_fine(kind: pa.DataType) -> bool:
    """Whether a type holds moments in nanoseconds."""
    if pa.types.is_timestamp(kind):
        return bool(kind.unit == "ns")
    return any(is_fine(kind.field(index).type) for index in range(kind.num_fields))


def has_nanoseconds(fine: pa.Array, coarse: pa.Array) -> pa.Array:
    """Whether each moment has digits below the microsecond."""
    nanoseconds = fine.cast(pa.int64())
    if coarse.type.unit == "ns":
        return pc.not_equal(nanoseconds, pc.multiply(pc.divide(nanoseconds, 1000), 1000))
    microseconds = coarse.cast(pa.int64())
    reached = pc.less(pc.abs(microseconds), REACH_MICROSECONDS)
    return pc.and_(reached, pc.not_equal(nanoseconds, pc.multiply(microseconds, 1000)))
