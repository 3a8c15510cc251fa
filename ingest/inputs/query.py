"""A query over other datasets: the input of a derived dataset.

The query runs read-only in one snapshot, with the rights of its product alone, over each dataset's properties at its
current revision; which revisions those were is the batch's position. Its result becomes a raw batch like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from psycopg import errors, pq
from sqlglot import expressions as exp

from catalog.model.dataset import Dataset
from catalog.model.dependencies import find_read
from catalog.model.readable_datasets import Readings, Source
from catalog.sql.query import TableRead, parse_query, quote, select_columns, write_query
from catalog.storage.held_tables import hold_tables
from catalog.storage.ledger_tables import DatasetHead
from catalog.storage.product_roles import become, find_usable_role
from ingest.errors import QueryInputError
from ingest.inputs.raw_batch import InputContext, RawBatch, one_part
from runtime.errors import DatabaseUnavailableError
from runtime.postgres.database import translate_error
from runtime.postgres.driver_messages import describe_postgres

# No schema is searched but Postgres's own, a backslash is a backslash, and times are the same for everybody.
SESSION = {
    "statement_timeout": "30min",
    "search_path": "pg_catalog, pg_temp",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
Sources = Mapping[str, Source]  # as the query calls them


@contextmanager
def open_query_batch(context: InputContext) -> Iterator[RawBatch]:
    """The query's result as CSV, ordered by the dataset's key."""
    dataset = context.dataset
    sources = find_sources(dataset, context.tables.readings)
    with context.engine.connect() as connection:
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        hold_tables(connection, (context.tables.of(source.dataset).current for source in sources.values()))
        position = {"revisions": read_revisions(connection, sources)}
        content = copy_out(connection, dataset, write_statement(dataset, sources))
        yield RawBatch("query", one_part("query", content), position=lambda: position)
        connection.rollback()


def find_sources(dataset: Dataset, readings: Readings) -> Sources:
    """What the query reads; QueryInputError where a contract that it needs is not there, or grants nothing."""
    sources = {}
    for read in dataset.input.reads if dataset.input else ():
        try:
            source = readings.find(dataset, *find_read(dataset, read))
        except ValueError as error:
            raise QueryInputError(f"The query of {dataset.address} reads {read}: {error}.") from error
        if source is None:
            raise QueryInputError(f"The query of {dataset.address} reads {read}, which no contract declares.")
        sources[read] = source
    return sources


def write_statement(dataset: Dataset, sources: Sources) -> str:
    """The query over its sources' properties by their names, and nothing of ours, in the order of the key."""

    def make(table: TableRead) -> exp.Subquery:
        source = sources[table.read]
        columns = {name: source.dataset.properties[name].column for name in source.properties}
        return select_columns(source.dataset.schema, source.dataset.table, columns)

    query = write_query(parse_query((dataset.input and dataset.input.query) or ""), make)
    return f"SELECT * FROM ({query}) AS query ORDER BY {', '.join(map(quote, choose_order(dataset)))}"


def read_revisions(connection: sa.Connection, sources: Sources) -> dict[str, int]:
    """The current revision of every dataset that the query reads, as this snapshot sees it."""
    places = {(s.dataset.product, s.dataset.major, s.dataset.name): read for read, s in sources.items()}
    rows = connection.execute(
        sa.select(DatasetHead.product, DatasetHead.major, DatasetHead.dataset, DatasetHead.revision).where(
            sa.tuple_(DatasetHead.product, DatasetHead.major, DatasetHead.dataset).in_(list(places))
        )
    )
    return {places[product, major, name]: int(revision) for product, major, name, revision in rows}


def copy_out(connection: sa.Connection, dataset: Dataset, query: str) -> Iterator[bytes]:
    """The result's CSV in pieces; QueryInputError says what Postgres had against the query, without any value."""
    driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    try:
        with driver.cursor() as cursor:
            become(cursor, find_usable_role(driver, dataset.schema, dataset.table), SESSION)
            require_one_statement(driver, query)
            with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)".encode()) as copy:
                for block in copy:
                    yield bytes(block)
    except psycopg.Error as error:
        if isinstance(translated := translate_error(error), DatabaseUnavailableError):
            raise translated from error
        raise QueryInputError(f"The query of {dataset.address} failed: {describe_postgres(error)}.") from error


def require_one_statement(driver: psycopg.Connection, query: str) -> None:
    """Has the server prepare the query, which it does for one statement only; psycopg.Error where it is none.

    COPY goes by the protocol that takes several.
    """
    result = driver.pgconn.prepare(b"", query.encode())
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise errors.error_from_result(result, encoding="utf-8")


def choose_order(dataset: Dataset) -> list[str]:
    """The columns that put the result in a steady order: those that the key is made of."""
    raw = [column for name in dataset.key for column in dataset.properties[name].raw_columns]
    return list(dict.fromkeys(raw))
