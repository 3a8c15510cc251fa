"""The good records that Postgres refuses all the same, found one by one where a batch as a whole is refused.

Most of what a column cannot hold is known before and checked by the cleaning statement. What is left is decided by
Postgres alone: whether a value fits into an index depends on how well it is compressed. So a batch that it refuses is
tried again by halves, in temporary tables that are made like the dataset's own, until every offending record stands
alone; these are rejected with what Postgres says, and the others go on.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors, sql

from catalog.storage.dataset_tables import LINE, DatasetTables, find_indexes
from ingest.cleaning.newest import name_order, order_property
from ingest.ledger.running_load import RunningLoad
from ingest.publishing.candidate import Candidate
from ingest.publishing.staging import copy_target, quote_table
from runtime.plain_text import plain
from runtime.postgres.copy import copy_file, driver_of

# A value that is none of its column's type, or more than a limit of Postgres allows.
REFUSALS = (psycopg.DataError, errors.ProgramLimitExceeded, errors.StatementTooComplex)
REFUSED_MOST = 10_000  # of one batch: beyond it the load fails
LONG_BYTES = 500  # of a value that may be why an index entry is too long
MESSAGE_CHARACTERS = 500


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
    with engine.begin() as connection:
        # The history's indexes are those of the dataset, and a first load parks none of them.
        names = [column.name for column in tables.current.columns]
        texts = sa.Table(
            "cleaned", sa.MetaData(), *(sa.Column(name, sa.Text) for name in names), prefixes=["TEMPORARY"]
        )
        connection.execute(sa.schema.CreateTable(texts))
        copy_file(connection, copy_target(connection, texts), file)
        driver = driver_of(connection)
        index = sql.SQL("({})::bigint").format(sql.Identifier(LINE))
        driver.execute(sql.SQL("CREATE INDEX ON cleaned ({place})").format(place=sql.SQL("({})").format(index)))
        like = quote_table(connection, tables.history).replace("%%", "%")
        driver.execute(f"CREATE TEMPORARY TABLE tried (LIKE {like} INCLUDING INDEXES)".encode())
        casts = sql.SQL(", ").join(
            sql.SQL("CAST({} AS {})").format(
                sql.Identifier(column.name), sql.SQL(column.type.compile(dialect=connection.dialect))
            )
            for column in tables.current.columns
        )
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        insert = sql.SQL("INSERT INTO tried ({columns}) SELECT {casts} FROM cleaned WHERE {place} = ANY(%s)").format(
            columns=columns, casts=casts, place=index
        )
        lines = [row[0] for row in driver.execute(sql.SQL("SELECT {} FROM cleaned ORDER BY 1").format(index))]
        found = [describe(driver, tables, line, error) for line, error in halve(driver, insert, lines)]
        if found:
            connection.execute(sa.schema.DropTable(staging, if_exists=True))
            connection.execute(sa.schema.CreateTable(staging))
            target = sql.SQL(copy_target(connection, staging))
            driver.execute(sql.SQL("INSERT INTO {} SELECT {} FROM tried").format(target, columns))
        for name in ("cleaned", "tried"):
            driver.execute(f"DROP TABLE {name}".encode())
    return found


def leave_refused(load: RunningLoad, candidate: Candidate) -> Candidate | None:
    """The candidate with the records that Postgres refuses among its rejected ones; None where it refuses none."""
    found = separate_refused(load.engine, load.tables, load.staging, candidate.clean.accepted_file)
    if not found:
        return None
    file = load.folder / "refused.csv"
    write_refused(found, file)
    return replace(candidate, direct=False, refused_file=file, refused=tuple(one.line for one in found))


def halve(driver: psycopg.Connection, insert: sql.Composed, lines: list[int]) -> list[tuple[int, psycopg.Error]]:
    """The lines that cannot be inserted, with the error of each; the others are inserted.

    The error itself is raised where they are too many.
    """
    found: list[tuple[int, psycopg.Error]] = []
    waiting = [lines] if lines else []
    while waiting:
        some = waiting.pop()
        try:
            with driver.transaction():
                driver.execute(insert, [some])
        except REFUSALS as error:
            if len(some) > 1:
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
                continue
            found.append((some[0], error))
            if len(found) > REFUSED_MOST:
                raise
    return found


def describe(driver: psycopg.Connection, tables: DatasetTables, line: int, error: psycopg.Error) -> Refused:
    """What the quarantine says of one record: what Postgres said, and of which property, where that is plain."""
    names = tables.columns()
    key = [names.index(name) for name in tables.key()]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    query = sql.SQL("SELECT {} FROM cleaned WHERE {}::bigint = %s").format(columns, sql.Identifier(LINE))
    row: tuple[str | None, ...] = driver.execute(query, [line]).fetchone() or ()
    indexed = {column for leading in find_indexes(tables.dataset, tables.key()) for column in leading}
    indexed |= set(tables.key())
    sizes = {name: len((row[index] or "").encode()) for index, name in enumerate(names) if name in indexed}
    longest = max(sizes, key=lambda name: sizes[name])
    said = plain(error.diag.message_primary or type(error).__name__, MESSAGE_CHARACTERS)
    said = re.sub(' for index "tried_[^"]*"', "", said)
    if isinstance(error, errors.ProgramLimitExceeded) and sizes[longest] > LONG_BYTES:
        by_column = {prop.column: prop.name for prop in tables.dataset.properties.values()}
        message = f"too long for an index, {sizes[longest]:,} bytes: {said}"
        order = read_order(tables, dict(zip(names, row, strict=True)))
        return Refused(line, ",".join(row[index] or "" for index in key), message, by_column[longest], order)
    return Refused(line, ",".join(row[index] or "" for index in key), f"Postgres rejects it: {said}", None)


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
