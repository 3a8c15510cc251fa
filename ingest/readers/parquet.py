"""Parquet: DuckDB reads it, each row becomes a JSON object whose keys are the columns; its line is its row's number.

Values that JSON has no form for are texts as the contract's types want them: moments in ISO 8601, decimals with all
their digits, bytes in Base64. The raw text of a rejected row is that object, which can be read again as NDJSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from catalog.dataset import RawForm
from ingest.duck import open_duckdb
from ingest.errors import SourceError, SourceTooLargeError
from ingest.landing import LandedPart, open_landed_file
from ingest.readers.json_hand import JsonHand, show_text
from ingest.readers.sink import RECORD_LIMIT_BYTES, RecordSink

FETCH_ROWS = 1000
MEMORY_LIMIT = "512MB"
NUMBERS = {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "boolean"}
LOCAL_MOMENTS = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"}


class ParquetReader:
    """Reads parts that are one Parquet file each."""

    def __init__(self, form: RawForm, limit: int, folder: Path) -> None:
        self.limit = limit  # bytes: of the file unpacked, and of its rows as JSON
        self.folder = folder

    def cut(self, part: LandedPart, sink: RecordSink) -> None:
        """Hands the part's rows to the sink."""
        with self.open_rows(part) as (columns, rows):
            sink.open_table(part.name, columns)
            hand = JsonHand(sink)
            first, size = 1, 0
            for texts in rows:
                size += sum(map(len, texts))
                if size > self.limit:
                    raise SourceTooLargeError()
                if max(map(len, texts)) <= RECORD_LIMIT_BYTES and not any(b"\\u0000" in text for text in texts):
                    sink.add_json(first, texts)
                    sink.advance(len(texts))
                else:
                    hand.take(first, texts)
                first += len(texts)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the rows at these ascending lines."""
        wanted = iter(lines)
        target = next(wanted, None)
        first = 1
        with self.open_rows(part) as (_, rows):
            for texts in rows:
                while target is not None and target < first + len(texts):
                    yield target, show_text(texts[target - first])
                    target = next(wanted, None)
                if target is None:
                    return
                first += len(texts)

    @contextmanager
    def open_rows(self, part: LandedPart) -> Iterator[tuple[tuple[str, ...], Iterator[list[bytes]]]]:
        """The columns, and the rows as JSON texts, some at a time; SourceError where this is no Parquet."""
        with (
            open_landed_file(part, self.limit, self.folder) as path,
            open_duckdb(files=(path,), memory=MEMORY_LIMIT) as engine,
        ):
            try:
                source = f"read_parquet({quote_text(str(path))})"
                described = engine.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
                columns = tuple(str(row[0]) for row in described)
                types = engine.sql(f"SELECT * FROM {source} LIMIT 0").types
                pairs = ", ".join(
                    f"{quote_text(name)}, {as_json(quote_name(name), type_)}"
                    for name, type_ in zip(columns, types, strict=True)
                )
                engine.execute(f"SELECT CAST(json_object({pairs}) AS VARCHAR) FROM {source}")
                yield columns, fetch_rows(engine)
            except duckdb.Error as error:
                reason = str(error).splitlines()[0]
                for written in (f"'{path}'", f'"{path}"', str(path)):
                    reason = reason.replace(written, "the file")
                raise SourceError(f"{part.name} cannot be read as Parquet: {reason}") from error


def fetch_rows(engine: duckdb.DuckDBPyConnection) -> Iterator[list[bytes]]:
    """The query's one column, some rows at a time."""
    while rows := engine.fetchmany(FETCH_ROWS):
        yield [row[0].encode() for row in rows]


def as_json(value: str, type_: Any, *, nested: bool = False) -> str:
    """SQL for a value of a column, in a form that JSON keeps exactly.

    A decimal is a text, so that no reader rounds it; within a nested value, where types are JSON's own, a number.
    """
    name = str(type_.id)
    if name == "decimal" and nested:
        return value
    if name in NUMBERS or name in {"varchar", "json"}:
        return value
    if name in {"double", "float"}:
        # Infinity is no JSON; as a text it is judged like any other.
        text = f"CAST({value} AS VARCHAR)"
        return f"CASE WHEN isfinite({value}) THEN to_json(CAST({text} AS DOUBLE)) ELSE to_json({text}) END"
    if name in LOCAL_MOMENTS:
        return f"replace(CAST({value} AS VARCHAR), ' ', 'T')"
    if name == "timestamp with time zone":
        return f"regexp_replace(replace(CAST({value} AS VARCHAR), ' ', 'T'), '\\+00$', 'Z')"
    if name == "blob":
        return f"base64({value})"
    if name == "struct":
        pairs = ", ".join(
            f"{quote_text(key)}, {as_json(f'struct_extract({value}, {quote_text(key)})', inner, nested=True)}"
            for key, inner in type_.children
        )
        return f"CASE WHEN {value} IS NOT NULL THEN json_object({pairs}) END"
    if name in {"list", "array"}:
        inner = type_.children[0][1]
        return f"to_json(list_transform({value}, lambda item: to_json({as_json('item', inner, nested=True)})))"
    if name == "map":
        return f"to_json({value})"
    return f"CAST({value} AS VARCHAR)"


def quote_name(name: str) -> str:
    """A DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A DuckDB text."""
    return "'" + text.replace("'", "''") + "'"
