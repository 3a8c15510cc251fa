"""The good records that Postgres refuses all the same, found one by one where a batch as a whole is refused.

Most of what a column cannot hold is known before and checked by the cleaning statement. What is left is decided by
Postgres alone: whether a value fits into an index depends on how well it is compressed. So a batch that it refuses is
tried again by halves, in a temporary table that is made like the dataset's own, until every offending record stands
alone; these are rejected with what Postgres says, and the others go on.
"""

from __future__ import annotations

import csv
import json
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import psycopg
import sqlalchemy as sa
from psycopg import errors, sql

from catalog.storage.dataset_tables import LINE, DatasetTables, find_indexes
from ingest.cleaning.newest import name_order, order_property
from ingest.ledger.running_load import RunningLoad
from ingest.publishing.candidate import Candidate
from ingest.publishing.staging import copy_target, quote_table
from runtime.plain_text import plain
from runtime.postgres.copy import COPY_BLOCK_BYTES, driver_of

# A value that is none of its column's type, or more than a limit of Postgres allows.
REFUSALS = (psycopg.DataError, errors.ProgramLimitExceeded, errors.StatementTooComplex)
REFUSED_MOST = 10_000  # of one batch: beyond it the load fails
LONG_BYTES = 500  # of a value that may be why an index entry is too long
MESSAGE_CHARACTERS = 500
VALUE = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\n]*))[,\n]')  # of CSV; without quotes, nothing is null

Span: TypeAlias = tuple[int, int]  # from a byte of the file to another


@dataclass(frozen=True)
class Refused:
    """One record that Postgres refuses, and why."""

    line: int
    key: str
    message: str
    property: str | None
    order: dict[str, Any] | None = None  # by which it is newer than another, where its values fit their types


def is_refusal(error: BaseException) -> bool:
    """Whether Postgres refused a record rather than a statement."""
    driver = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return isinstance(driver, REFUSALS)


def separate_refused(engine: sa.Engine, tables: DatasetTables, staging: sa.Table, file: Path) -> list[Refused]:
    """The records of the file that Postgres refuses; all others are in the load's staging table then.

    Empty where each of them is taken: then something else was refused.
    """
    with engine.begin() as connection, file.open("rb") as source:
        driver = driver_of(connection)
        # The history's indexes are those of the dataset, and a first load parks none of them.
        like = quote_table(connection, tables.history).replace("%%", "%")
        driver.execute(f"CREATE TEMPORARY TABLE tried (LIKE {like} INCLUDING INDEXES INCLUDING STORAGE)".encode())
        names = [column.name for column in tables.current.columns]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        copy = sql.SQL("COPY tried ({}) FROM STDIN (FORMAT csv)").format(columns)
        found = [
            describe(tables, dict(zip(names, read_record(source, *span), strict=True)), error)
            for span, error in halve(driver, copy, source)
        ]
        if found:
            connection.execute(sa.schema.DropTable(staging, if_exists=True))
            connection.execute(sa.schema.CreateTable(staging))
            target = sql.SQL(copy_target(connection, staging))
            driver.execute(sql.SQL("INSERT INTO {} SELECT {} FROM tried").format(target, columns))
        driver.execute("DROP TABLE tried")
    return sorted(found, key=lambda one: one.line)


def leave_refused(load: RunningLoad, candidate: Candidate) -> Candidate | None:
    """The candidate with the records that Postgres refuses among its rejected ones; None where it refuses none."""
    found = separate_refused(load.engine, load.tables, load.staging, candidate.clean.accepted_file)
    if not found:
        return None
    file = load.folder / "refused.csv"
    write_refused(found, file)
    return replace(candidate, direct=False, refused_file=file, refused=tuple(one.line for one in found))


def halve(driver: psycopg.Connection, copy: sql.Composed, source: BinaryIO) -> list[tuple[Span, psycopg.Error]]:
    """The records of a file that cannot be copied, with the error of each; the others are copied.

    Never through a table of texts: short ones take more room than what they say, and no row holds as many.
    The error itself is raised where they are too many.
    """
    places = find_records(source)
    found: list[tuple[Span, psycopg.Error]] = []
    waiting = [(0, len(places) - 1)] if len(places) > 1 else []
    while waiting:
        first, after = waiting.pop()
        span = places[first], places[after]
        try:
            with driver.transaction():
                copy_span(driver, copy, source, *span)
        except REFUSALS as error:
            if after - first > 1:
                middle = (first + after) // 2
                waiting += [(middle, after), (first, middle)]
                continue
            found.append((span, error))
            if len(found) > REFUSED_MOST:
                raise
    return found


def find_records(source: BinaryIO) -> array[int]:
    """Where each record of a CSV file begins, and where the last one ends, in bytes."""
    places = array("q", [0])
    place, quotes = 0, 0
    for line in source:
        place += len(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:  # otherwise the line ends within a value
            places.append(place)
    return places


def copy_span(driver: psycopg.Connection, statement: sql.Composed, source: BinaryIO, start: int, end: int) -> None:
    """COPYs a part of a file."""
    source.seek(start)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        while block := source.read(min(COPY_BLOCK_BYTES, end - source.tell())):
            copy.write(block)


def read_record(source: BinaryIO, start: int, end: int) -> list[str | None]:
    """The values of one record of a file."""
    source.seek(start)
    text = source.read(end - start).decode().removesuffix("\n") + "\n"
    return [
        plain_value or None if quoted is None else quoted.replace('""', '"')
        for quoted, plain_value in (match.groups() for match in VALUE.finditer(text))
    ]


def describe(tables: DatasetTables, record: Mapping[str, str | None], error: psycopg.Error) -> Refused:
    """What the quarantine says of one record: what Postgres said, and of which property, where that is plain."""
    line, key = int(record[LINE] or 0), ",".join(record[name] or "" for name in tables.key())
    indexed = {column for leading in find_indexes(tables.dataset, tables.key()) for column in leading}
    indexed |= set(tables.key())
    sizes = {name: len((record[name] or "").encode()) for name in tables.columns() if name in indexed}
    longest = max(sizes, key=lambda name: sizes[name])
    said = plain(error.diag.message_primary or type(error).__name__, MESSAGE_CHARACTERS)
    said = re.sub(' for index "tried_[^"]*"', "", said)
    if isinstance(error, errors.ProgramLimitExceeded) and sizes[longest] > LONG_BYTES:
        by_column = {prop.column: prop.name for prop in tables.dataset.properties.values()}
        message = f"too long for an index, {sizes[longest]:,} bytes: {said}"
        return Refused(line, key, message, by_column[longest], read_order(tables, record))
    return Refused(line, key, f"Postgres rejects it: {said}", None)


def read_order(tables: DatasetTables, row: Mapping[str, str | None]) -> dict[str, object] | None:
    """The value by which a record is newer than another, as quarantine keeps it; None where none decides."""
    prop = order_property(tables.dataset)
    return {"by": name_order(prop), "value": row[prop.column]} if prop else None


def write_refused(found: list[Refused], file: Path) -> None:
    """The refused records as rejected ones, in a file that the load's others are gathered with."""
    with file.open("w", newline="", encoding="utf-8") as target:
        write = csv.writer(target, lineterminator="\r\n").writerow
        for one in found:
            reason = {"property": one.property, "rule": "refused", "value": None, "message": one.message}
            order = json.dumps(one.order) if one.order else None
            write([one.line, one.key, None, json.dumps([reason]), None, order])
