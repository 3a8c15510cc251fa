"""A query over other datasets: the input of a derived dataset.

The query runs read-only in one snapshot, over views that show each dataset's properties at its current revision;
which revisions those were is the batch's position. Its result becomes a raw batch like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from catalog.database import translate_error
from catalog.dataset import Dataset, find_read, shorten_name
from catalog.errors import DatabaseUnavailableError
from catalog.models import DatasetHead
from catalog.query import quote, rename_tables
from catalog.tables import CatalogTables, DatasetTables
from ingest.errors import QueryInputError
from ingest.inputs.batch import InputPlace, RawBatch, one_part

# No schema is searched but those of temporary views and of Postgres itself, and times are the same for everybody.
SESSION = {
    "statement_timeout": "30min",
    "search_path": "pg_catalog",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}


@contextmanager
def open_query_batch(place: InputPlace) -> Iterator[RawBatch]:
    """The query's result as CSV, ordered by the dataset's key."""
    dataset = place.dataset
    sources = find_sources(dataset, place.tables)
    with place.engine.connect() as connection:
        # A connection that was used before may have views of another contract.
        connection.execute(sa.text("DISCARD TEMP"))
        for name, pair in sources.values():
            create_view(connection, name, pair)
        connection.commit()
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        for setting, value in SESSION.items():
            connection.execute(sa.select(sa.func.set_config(setting, value, True)))
        position = {"revisions": read_revisions(connection, sources)}
        content = copy_out(connection, dataset, {source: name for source, (name, _) in sources.items()})
        yield RawBatch("query", one_part("query", content), position=lambda: position)
        connection.rollback()


Sources = Mapping[str, tuple[str, DatasetTables]]  # as the query calls it -> its view's name and its tables


def find_sources(dataset: Dataset, tables: CatalogTables) -> Sources:
    """What the query reads; QueryInputError where a contract that it needs is not there."""
    sources = {}
    for read in dataset.input.reads if dataset.input else ():
        schema, name = find_read(dataset, read)
        pair = tables.by_dataset.get((schema, name))
        if pair is None:
            raise QueryInputError(f"The query of {dataset.address} reads {read}, which no contract declares.")
        sources[read] = (shorten_name(f"{schema}.{name}"), pair)
    return sources


def create_view(connection: sa.Connection, name: str, pair: DatasetTables) -> None:
    """A temporary view of a dataset: its properties by their names, and nothing of ours."""
    columns = [pair.current.c[p.column].label(p.name) for p in pair.dataset.properties.values()]
    text = sa.select(*columns).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"CREATE TEMPORARY VIEW {quote(name)} AS {text}")


def read_revisions(connection: sa.Connection, sources: Sources) -> dict[str, int]:
    """The current revision of every dataset that the query reads, as this snapshot sees it."""
    places = {(p.dataset.product, p.dataset.major, p.dataset.name): read for read, (_, p) in sources.items()}
    rows = connection.execute(
        sa.select(DatasetHead.product, DatasetHead.major, DatasetHead.dataset, DatasetHead.revision).where(
            sa.tuple_(DatasetHead.product, DatasetHead.major, DatasetHead.dataset).in_(list(places))
        )
    )
    return {places[product, major, name]: int(revision) for product, major, name, revision in rows}


def copy_out(connection: sa.Connection, dataset: Dataset, names: Mapping[str, str]) -> Iterator[bytes]:
    """The result's CSV in pieces; QueryInputError says what Postgres had against the query."""
    query = rename_tables((dataset.input and dataset.input.query) or "", names)
    order = ", ".join(map(quote, choose_order(dataset)))
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    statement = f"COPY (SELECT * FROM ({query}\n) AS query ORDER BY {order}) TO STDOUT (FORMAT csv, HEADER)"
    try:
        with driver.cursor().copy(statement.encode()) as copy:
            for block in copy:
                yield bytes(block)
    except psycopg.Error as error:
        if isinstance(translated := translate_error(error), DatabaseUnavailableError):
            raise translated from error
        raise QueryInputError(f"The query of {dataset.address} failed: {error.diag.message_primary}") from error


def choose_order(dataset: Dataset) -> list[str]:
    """The columns that put the result in a steady order: those that the key is made of."""
    raw = [column for name in dataset.key for column in dataset.properties[name].raw_columns]
    return list(dict.fromkeys(raw))
