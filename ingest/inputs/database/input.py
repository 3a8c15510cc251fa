"""A table or a query of a database, through SQLAlchemy: read-only, with a cursor on the server, as NDJSON.

Postgres writes the JSON itself: numbers with all their digits, moments in UTC, bytes in hexadecimal, exactly as it
holds them. For other databases it is written here, from what their drivers give. Rows come in the order of the
dataset's key, so that the same data is the same batch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset, Input
from catalog.model.sources import DatabaseSource
from ingest.errors import SourceError
from ingest.inputs.database.engine import make_source_engine
from ingest.inputs.database.errors import explain
from ingest.inputs.database.postgres import write_column
from ingest.inputs.database.rows import Writer, choose_writer, plain, write_rows
from ingest.inputs.database.session import begin_reading
from ingest.inputs.database.watermarks import choose_rows, read_watermarks
from ingest.inputs.incremental import find_watermark
from ingest.inputs.raw_batch import InputContext, RawBatch, RawPart
from ingest.inputs.variables import VariableExpander
from runtime.postgres.sql_types import SqlExpression, SqlQuery

BLOCK_ROWS = 2_000
# A colon before a word is a parameter to SQLAlchemy, unless there is a backslash before it.
COLON = re.compile(r"(?<![:\w]):(?=[\w$])|(?<=\\):")


@dataclass(frozen=True)
class Header:
    """The columns of what is read, and the driver's types of them."""

    names: tuple[str, ...]
    codes: tuple[Any, ...]


@contextmanager
def open_database_batch(context: InputContext) -> Iterator[RawBatch]:
    """The rows as NDJSON; only those from the mark on where the input is incremental."""
    source = source_of(context.source)
    watermark = find_watermark(context)
    engine = make_source_engine(source, VariableExpander(context.permits))
    try:
        with explain(source), engine.connect() as connection, begin_reading(connection, context.engine, source):
            rows = name_rows(source)
            header = read_header(connection, source, rows)
            writers = choose_writers(context.dataset, header, connection.dialect.name)
            query = sa.select(*choose_read(context.dataset, header, connection.dialect.name)).select_from(rows)
            if watermark is not None:
                query = choose_rows(query, watermark, context.dataset, connection.dialect.name)
            # Marks are read before the rows: what comes between the two is read now, and once more the next time.
            found = []
            if watermark is not None:
                write = writer_of(watermark.incremental.target, header, writers)
                found = read_watermarks(connection, source, query, context, watermark, write)
            query = query.order_by(*(sa.column(name) for name in choose_order(context.dataset)))
            with closing(read_blocks(connection, source, query, header.names, writers)) as blocks:
                yield RawBatch(
                    source=source.address,
                    parts=iter(
                        [
                            RawPart(
                                "rows", blocks, file_format=replace(context.source.file_format, columns=header.names)
                            )
                        ]
                    ),
                    position=lambda: watermark.position(found) if watermark else None,
                    may_be_empty=watermark is not None and not watermark.is_start,
                )
    finally:
        engine.dispose()


def name_rows(source: DatabaseSource) -> sa.FromClause:
    """What is read, as a place for FROM."""
    if source.sql is not None:
        return sa.text(COLON.sub(r"\\:", source.sql) + "\n").columns().subquery("_rows")
    return sa.table(source.table or "", schema=source.schema)


def choose_read(dataset: Dataset, header: Header, dialect: str) -> list[SqlExpression]:
    """What is read of the rows: all as it is, but for columns that Postgres would write otherwise than is meant."""
    if dialect != "postgresql":
        return [sa.literal_column("*")]
    kinds = read_kinds(dataset)
    written = [write_column(kinds.get(name), code) for name, code in zip(header.names, header.codes, strict=True)]
    if not any(written):
        return [sa.literal_column("*")]
    return [write_as(name, text or "{column}") for name, text in zip(header.names, written, strict=True)]


def write_as(name: str, text: str) -> SqlExpression:
    """A column, by SQL over {column}, under its own name."""
    quoted = '"' + name.replace('"', '""') + '"'  # without the doubled % of a dialect: the whole text gets that
    return sa.literal_column(text.replace("{column}", quoted)).label(sa.sql.quoted_name(name, quote=True))


def choose_writers(dataset: Dataset, header: Header, dialect: str) -> list[Writer]:
    """How each column's values are written: by the type of the property that it is read for."""
    kinds = read_kinds(dataset)
    mysql = dialect in {"mysql", "mariadb"}
    return [
        choose_writer(kinds.get(name), code, mysql=mysql)
        for name, code in zip(header.names, header.codes, strict=True)
    ]


def read_kinds(dataset: Dataset) -> dict[str, str]:
    """The types of the properties that columns are read for as they are."""
    return {
        prop.raw_columns[0]: prop.type.name
        for prop in reversed(list(dataset.properties.values()))
        if prop.transform is None and prop.raw_columns
    }


def choose_order(dataset: Dataset) -> list[str]:
    """The columns that the dataset's key is read from, where it is read as it is."""
    key = [dataset.properties[name] for name in dataset.key]
    if any(prop.transform for prop in key):
        return []
    return list(dict.fromkeys(column for prop in key for column in prop.raw_columns))


def read_blocks(
    connection: sa.Connection,
    source: DatabaseSource,
    query: SqlQuery,
    names: tuple[str, ...],
    writers: list[Writer],
) -> Generator[bytes, None, None]:
    """The rows as NDJSON, block by block; SourceError where that takes too long."""
    end = time.monotonic() + source.timeout
    with explain(source):
        if connection.dialect.name == "postgresql":
            inner = query.subquery("_row")
            query = sa.select(sa.literal_column('row_to_json("_row".*)::text')).select_from(inner)
        streaming = connection.execution_options(stream_results=True, max_row_buffer=BLOCK_ROWS)
        with closing(streaming.execute(query)) as result:
            for block in result.partitions(BLOCK_ROWS):
                if time.monotonic() > end:
                    raise SourceError(f"Reading {source.address} took more than {source.timeout:,.0f} seconds.")
                if connection.dialect.name == "postgresql":
                    # A line break can only be between the values of a column that holds JSON as it was written.
                    yield b"".join(as_bytes(row[0]).replace(b"\n", b" ") + b"\n" for row in block)
                else:
                    yield write_rows(names, block, writers)


def as_bytes(text: str | bytes) -> bytes:
    """A text of Postgres; bytes where the database itself knows no encoding."""
    return text.encode() if isinstance(text, str) else text


def read_header(connection: sa.Connection, source: DatabaseSource, rows: sa.FromClause) -> Header:
    """The columns; SourceError where two have one name: one would hide the other."""
    query: SqlQuery = sa.select(sa.literal_column("*")).select_from(rows).where(sa.false())
    with explain(source), closing(connection.execute(query)) as result:
        names = tuple(result.keys())
        codes = tuple(column[1] for column in result.cursor.description)
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"Reading {source.address} returns two columns named {name!r}.")
    return Header(names, codes)


def writer_of(name: str, header: Header, writers: Sequence[Writer]) -> Writer:
    """How a column is written; as it is where it is none of those that are read."""
    return writers[header.names.index(name)] if name in header.names else plain


def source_of(source: Input) -> DatabaseSource:
    """The input's database; SourceError where it has none."""
    if not isinstance(source.source, DatabaseSource):
        raise SourceError("The input is not a database.")
    return source.source
