"""A query over other datasets: the input of a derived dataset.

The query runs read-only in one snapshot, over views that show each dataset's properties at its current revision;
which revisions those were is the batch's position. Its result becomes a raw batch like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from catalog.database import translate_error
from catalog.dataset import Dataset
from catalog.errors import DatabaseUnavailableError
from catalog.models import DatasetHead
from catalog.tables import CatalogTables
from ingest.errors import QueryInputError
from ingest.inputs.batch import InputPlace, RawBatch, one_part

QUERY_TIMEOUT = "30min"


@contextmanager
def open_query_batch(place: InputPlace) -> Iterator[RawBatch]:
    """The query's result as CSV, ordered by the dataset's key."""
    dataset = place.dataset
    with place.engine.connect() as connection:
        create_views(connection, dataset, place.tables)
        connection.commit()
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        connection.execute(sa.text(f"SET LOCAL statement_timeout = '{QUERY_TIMEOUT}'"))
        revisions = read_revisions(connection, dataset)
        position = {"revisions": revisions}
        yield RawBatch("query", one_part("query", copy_out(connection, dataset)), position=lambda: position)
        connection.rollback()


def create_views(connection: sa.Connection, dataset: Dataset, tables: CatalogTables) -> None:
    """Temporary views named as the product's datasets, with their properties' names and nothing of ours."""
    for (schema, name), pair in tables.by_dataset.items():
        if schema != dataset.schema or name == dataset.name:
            continue
        columns = [pair.current.c[p.column].label(p.name) for p in pair.dataset.properties.values()]
        text = sa.select(*columns).compile(dialect=connection.dialect)
        quoted = connection.dialect.identifier_preparer.quote_identifier(name)
        connection.exec_driver_sql(f"CREATE TEMPORARY VIEW {quoted} AS {text}".replace("%", "%%"))


def read_revisions(connection: sa.Connection, dataset: Dataset) -> dict[str, int]:
    """The current revision of every dataset that the query reads, as this snapshot sees it."""
    names = [name for name in (dataset.input.reads if dataset.input else ()) if "." not in name]
    rows = connection.execute(
        sa.select(DatasetHead.dataset, DatasetHead.revision)
        .where(DatasetHead.product == dataset.product, DatasetHead.major == dataset.major)
        .where(DatasetHead.dataset.in_(names))
    )
    return {str(name): int(revision) for name, revision in rows}


def copy_out(connection: sa.Connection, dataset: Dataset) -> Iterator[bytes]:
    """The result's CSV in pieces; QueryInputError says what Postgres had against the query."""
    query = dataset.input.query if dataset.input else ""
    order = ", ".join(
        connection.dialect.identifier_preparer.quote_identifier(dataset.properties[name].name) for name in dataset.key
    )
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    statement = f"COPY (SELECT * FROM ({query}) AS query ORDER BY {order}) TO STDOUT (FORMAT csv, HEADER)"
    try:
        with driver.cursor().copy(statement.encode()) as copy:
            for block in copy:
                yield bytes(block)
    except psycopg.Error as error:
        if isinstance(translated := translate_error(error), DatabaseUnavailableError):
            raise translated from error
        raise QueryInputError(f"The query of {dataset.address} failed: {error.diag.message_primary}") from error
