"""Parquet: DuckDB reads it, each row becomes a JSON object whose keys are the columns; its line is its row's number.

Values that JSON has no form for are texts as the contract's types want them: moments in ISO 8601, decimals with all
their digits, bytes in Base64. The raw text of a rejected row is that object, which can be read again as NDJSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError, SourceTooLargeError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit, open_landed_file
from ingest.readers.json_batches import JsonBatcher, show_text
from ingest.readers.nanoseconds import find_too_fine
from ingest.readers.record_writer import JSON_COLUMN, RECORD_LIMIT_BYTES, RecordWriter
from ingest.readers.redaction import RedactedPart, redact_document
from ingest.readers.signature import LOOKED_AT, name_format
from runtime.duckdb_connection import open_duckdb
from runtime.postgres.driver_messages import describe_duckdb

FETCH_ROWS = 1000
FREE_BYTES = 100_000_000  # of JSON; below it, the ratio to the file's size does not matter
EXACT_DIGITS = 15  # so many digits a double always keeps
ODD = b"\\u0000"  # in what is no number within a nested value, and in texts that are rejected anyway
NO_NUMBER = re.compile(rb'"\\u0000(nan|-?inf)"')
TOO_FINE = "has a timestamp with nanoseconds; only microseconds are supported"
MEMORY_LIMIT = "512MB"
NUMBERS = {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "boolean"}
LOCAL_TIMESTAMPS = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"}


class ParquetReader:
    """Reads parts that are one Parquet file each."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Path) -> None:
        self.limit = limit  # of the file unpacked, and of its rows as JSON
        self.folder = folder

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's rows to the record writer: of each the columns that the contract reads."""
        with self.open_file(part) as file:
            record_writer.open_table(part.name, file.columns)
            chosen = file.choose(
                None if JSON_COLUMN in record_writer.needed or not record_writer.needed else record_writer.needed
            )
            allowance = self.limit.of_packed(part.name, part.size, FREE_BYTES)
            batcher = JsonBatcher(record_writer)
            first = 1
            for texts, too_fine in file.rows(chosen):
                allowance.take(sum(map(len, texts)))
                whole = max(map(len, texts)) <= RECORD_LIMIT_BYTES and not any(ODD in text for text in texts)
                if whole and not too_fine:
                    record_writer.add_json(first, texts)
                    record_writer.advance(len(texts))
                elif not too_fine:
                    batcher.take(first, [write_non_numbers(text) for text in texts])
                else:
                    for index, text in enumerate(texts):
                        if index in too_fine:
                            record_writer.add_malformed(first + index, show_text(spoil(text)), TOO_FINE)
                            record_writer.advance(1)
                        else:
                            batcher.take(first + index, [write_non_numbers(text)])
                first += len(texts)

    def redact(self, part: LandedPart, dropped: Set[int], kept: list[int]) -> RedactedPart:
        """The rows that stay, as NDJSON."""
        return redact_document(self.pick(part, kept))

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the rows at these ascending lines, with all that the file has of them."""
        wanted = list(lines)
        with self.open_file(part) as file:
            for start in range(0, len(wanted), FETCH_ROWS):
                asked = wanted[start : start + FETCH_ROWS]
                place = 0
                for texts, too_fine in file.rows(file.choose(None), asked):
                    for index, text in enumerate(texts):
                        yield (
                            asked[place + index],
                            show_text(spoil(text) if index in too_fine else write_non_numbers(text)),
                        )
                    place += len(texts)

    @contextmanager
    def open_file(self, part: LandedPart) -> Iterator[ParquetFile]:
        """The file; SourceError where it is no Parquet."""
        with (
            open_landed_file(part, self.limit, self.folder) as path,
            open_duckdb(files=(path,), memory=MEMORY_LIMIT) as engine,
        ):
            try:
                yield ParquetFile(engine, path)
            except duckdb.OutOfMemoryException as error:
                raise SourceTooLargeError(
                    f"{part.name}: a few thousand of its rows need more than {MEMORY_LIMIT} of memory."
                ) from error
            except duckdb.Error as error:
                with path.open("rb") as head:
                    words = name_format(head.read(LOOKED_AT))
                if words:
                    raise SourceError(f"{part.name} is {words}.") from error
                raise SourceError(f"{part.name} cannot be read as Parquet: {describe_duckdb(error)}") from error


class ParquetFile:
    """One Parquet file, read by DuckDB."""

    def __init__(self, engine: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.engine = engine
        self.path = path
        self.source = f"read_parquet({quote_text(str(path))}, file_row_number = true)"
        relation = engine.sql(f"SELECT * EXCLUDE (file_row_number) FROM {self.source} LIMIT 0")
        self.columns = tuple(relation.columns)
        self.types = dict(zip(self.columns, relation.types, strict=True))

    def choose(self, names: Iterable[str] | None) -> list[str]:
        """The columns of these names, in the file's order; all of them where none are said."""
        wanted = None if names is None else set(names)
        return [name for name in self.columns if wanted is None or name in wanted]

    def rows(self, columns: list[str], lines: list[int] | None = None) -> Iterator[tuple[list[bytes], set[int]]]:
        """The rows as JSON texts, some at a time, and which of their moments lost digits: all, or at lines."""
        pairs = ", ".join(f"{quote_text(name)}, {as_json(quote_name(name), self.types[name])}" for name in columns)
        query = f"SELECT CAST(json_object({pairs}) AS VARCHAR) FROM {self.source}"
        if lines is not None:
            places = ", ".join(str(line - 1) for line in lines)
            query += f" WHERE file_row_number IN ({places}) ORDER BY file_row_number"
        too_fine = find_too_fine(self.path, columns)
        next_one = next(too_fine, None)
        first = 0
        self.engine.execute(query)
        for texts in fetch_rows(self.engine):
            numbers = (
                lines[first : first + len(texts)] if lines is not None else range(first + 1, first + len(texts) + 1)
            )
            found: set[int] = set()
            while next_one is not None and next_one <= numbers[-1]:
                if lines is None:
                    found.add(next_one - first - 1)
                elif next_one in numbers:
                    found.add(numbers.index(next_one))
                next_one = next(too_fine, None)
            yield texts, found
            first += len(texts)


def fetch_rows(engine: duckdb.DuckDBPyConnection) -> Iterator[list[bytes]]:
    """The query's one column, some rows at a time."""
    while rows := engine.fetchmany(FETCH_ROWS):
        yield [row[0].encode() for row in rows]


def as_json(value: str, type_: Any, *, nested: bool = False) -> str:
    """SQL for a value of a column, in a form that JSON keeps exactly.

    A decimal is a text, so that no reader rounds it; within a nested value, where types are JSON's own, it is a
    number where a number keeps all its digits.
    """
    name = str(type_.id)
    if name == "decimal" and nested:
        return nested_decimal(value, type_)
    if name in NUMBERS or name in {"varchar", "json"}:
        return value
    if name in {"double", "float"}:
        text = f"CAST({value} AS VARCHAR)"
        # Infinity is no JSON: as a text it is checked like any other, and within a nested value, where no type would
        # judge it, it is marked, for the record to be rejected.
        odd = f"chr(0) || {text}" if nested else text
        return f"CASE WHEN isfinite({value}) THEN to_json(CAST({text} AS DOUBLE)) ELSE to_json({odd}) END"
    if name in LOCAL_TIMESTAMPS:
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
        (_, key), (_, inner) = type_.children
        pair = (
            f"struct_pack(k := CAST({as_json('entry.key', key)} AS VARCHAR),"
            f" v := to_json({as_json('entry.value', inner, nested=True)}))"
        )
        entries = f"map_from_entries(list_transform(map_entries({value}), lambda entry: {pair}))"
        return f"CASE WHEN {value} IS NOT NULL THEN to_json({entries}) END"
    return f"CAST({value} AS VARCHAR)"


def nested_decimal(value: str, type_: Any) -> str:
    """SQL for a decimal within a nested value: a number, or a text where a number would lose digits."""
    precision, scale = (part for _, part in type_.children)
    if precision <= EXACT_DIGITS:
        return f"to_json({value})"
    again = f"TRY_CAST(CAST(CAST({value} AS DOUBLE) AS VARCHAR) AS DECIMAL({precision},{scale}))"
    number, text = f"to_json(CAST({value} AS DOUBLE))", f"to_json(CAST({value} AS VARCHAR))"
    return f"CASE WHEN {again} = {value} THEN {number} ELSE {text} END"


def write_non_numbers(text: bytes) -> bytes:
    """A row's text with what is no number in it in plain words, which are no JSON: the row is rejected for them."""
    return NO_NUMBER.sub(lambda found: b"NaN" if found[1] == b"nan" else found[1].replace(b"inf", b"Infinity"), text)


def spoil(text: bytes) -> bytes:
    """A row's text that must not be read as a record some other time: digits of it are missing."""
    return text + b" nanoseconds cut off"


def quote_name(name: str) -> str:
    """A DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A DuckDB text."""
    return "'" + text.replace("'", "''") + "'"
