"""Arrow batches as they leave: exact types for files, lines of text for CSV. Whole columns at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.dataset import Property
from catalog.types import PropertyType

QUOTED = '[",\r\n]|^$'
FORMULA = "^[=+@\t\r-]"


def typed_schema(properties: Sequence[Property], schema: pa.Schema) -> pa.Schema:
    """The schema of a file: the batches' own, with exact decimals instead of their texts."""
    fields = []
    for prop, field in zip(properties, schema, strict=True):
        kind = field.type
        if prop.type.name == "numeric":
            kind = decimal_of(prop.type)
        elif prop.type.item is not None and prop.type.item.name == "numeric":
            kind = pa.list_(decimal_of(prop.type.item))
        # The driver's notes on Postgres types are nothing to a reader.
        fields.append(
            pa.field(prop.name, kind, metadata={"description": prop.description} if prop.description else None)
        )
    return pa.schema(fields)


def decimal_of(kind: PropertyType) -> Any:
    """The Arrow type of exact decimals."""
    numeric: Any = kind.sqlalchemy
    return pa.decimal128(numeric.precision, numeric.scale)


def typed_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in a file's schema."""
    columns = [
        column if column.type == field.type else pc.cast(column, field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def csv_lines(batch: pa.RecordBatch, properties: Sequence[Property]) -> memoryview:
    """The batch's records as lines of CSV (RFC 4180), as one piece of memory."""
    cells = [csv_cells(column, prop) for column, prop in zip(batch.columns, properties, strict=True)]
    rows = pc.binary_join_element_wise(*cells, ",") if len(cells) > 1 else cells[0]
    return text_of(pc.binary_join_element_wise(rows, "\r\n", ""))


def csv_cells(column: Any, prop: Property) -> Any:
    """One column as the text of cells; null is nothing, and an empty text is `""`."""
    if pa.types.is_timestamp(column.type):
        return pc.fill_null(csv_moments(column), "")
    if not pa.types.is_string(column.type):
        return pc.fill_null(pc.cast(column, pa.string()), "")
    if prop.type.name == "numeric":
        return pc.fill_null(column, "")
    formula = pc.match_substring_regex(column, FORMULA)
    if pc.any(formula).as_py():
        column = pc.if_else(formula, pc.binary_join_element_wise("'", column, ""), column)
    special = pc.match_substring_regex(column, QUOTED)
    if pc.any(special).as_py():
        doubled = pc.replace_substring(column, '"', '""')
        column = pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)
    return pc.fill_null(column, "")


def csv_moments(column: Any) -> Any:
    """Moments in RFC 3339 as the JSON has them: with a fraction only where there is one."""
    zone = "+00:00" if column.type.tz else ""
    exact = column.view(pa.timestamp("us"))
    # A cast writes whole seconds without a fraction, and microseconds with six digits; strftime takes much longer.
    whole = pc.cast(exact, pa.timestamp("s"), safe=False)
    text = write_moments(whole)
    broken = pc.not_equal(pc.cast(whole, pa.timestamp("us")), exact)
    if pc.any(broken).as_py():
        text = pc.if_else(broken, pc.replace_substring_regex(write_moments(exact), r"\.?0+$", ""), text)
    return pc.binary_join_element_wise(text, zone, "")


def write_moments(column: Any) -> Any:
    """Moments as text, with the T between day and time."""
    return pc.binary_replace_slice(pc.cast(column, pa.string()), 10, 11, "T")


def text_of(lines: Any) -> memoryview:
    """The bytes of an array of texts, without a copy and without one object for each."""
    _, offsets, data = lines.buffers()
    if len(lines) == 0 or data is None:
        return memoryview(b"")
    width = 8 if pa.types.is_large_string(lines.type) else 4
    ends = memoryview(offsets)
    first = int.from_bytes(ends[lines.offset * width : (lines.offset + 1) * width], "little")
    stop = lines.offset + len(lines)
    last = int.from_bytes(ends[stop * width : (stop + 1) * width], "little")
    return memoryview(data)[first:last]
