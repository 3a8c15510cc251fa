"""Whether this process can serve from the database as it is now.

A migration that only adds something leaves older processes ready: they go on until newer ones stand beside them. What
counts is what a process needs: the columns of its datasets, and their types.
"""

from __future__ import annotations

import logging

from psycopg import AsyncConnection
from sqlalchemy.dialects import postgresql

from api.query.view import Views
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from runtime.logs import log
from runtime.postgres.sql_types import SqlType

LOG = logging.getLogger("decant.health")
DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
OUTDATED = "the database was migrated to another contract; run `decant migrate`"
CHANGED = "the database was migrated to contracts that this process does not have; restart it with them"
CONTRACTS = "SELECT product, major, dataset, contract_sha256 FROM decant.datasets"
# Of the columns that are needed, those that are not there as such. A type's length or scale changes no statement.
MISSING = """
SELECT schema_name, table_name, column_name
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[])
  AS needed (schema_name, table_name, column_name, type_name)
WHERE NOT EXISTS (
  SELECT FROM pg_attribute
  WHERE attrelid = to_regclass(format('%%I.%%I', schema_name, table_name)) AND attname = column_name
    AND attnum > 0 AND NOT attisdropped AND atttypid = to_regtype(type_name)
)
"""


async def find_obstacle(connection: AsyncConnection, catalog: Catalog, views: Views) -> str | None:
    """Why the process cannot serve; None where it can. Anybody may ask: only the log names the dataset."""
    rows = await (await connection.execute(CONTRACTS)).fetchall()
    known = {(row[0].decode(), row[1], row[2].decode()): row[3].decode() for row in rows}
    other = []
    for product in catalog.products.values():
        for dataset in product.datasets.values():
            digest = known.get((product.id, product.major, dataset.name))
            if digest is None:
                log(LOG, "not_migrated", logging.WARNING, dataset=dataset.address)
                return OUTDATED
            if digest != product.sha256:
                other.append(dataset)
    if not other:
        return None
    needed = [column for dataset in other for column in needed_columns(views, dataset)]
    missing = await (await connection.execute(MISSING, [list(part) for part in zip(*needed, strict=True)])).fetchall()
    for row in missing:
        log(LOG, "not_readable", logging.WARNING, column=".".join(part.decode() for part in row))
    return CHANGED if missing else None


def needed_columns(views: Views, dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Schema, table, name and type of every column that statements about a dataset name."""
    tables = views.tables.of(dataset)
    return [
        (str(table.schema), table.name, column.name, write_type(column.type))
        for table in (tables.current, tables.history)
        for column in table.columns
    ]


def write_type(kind: SqlType) -> str:
    """A type's name in Postgres."""
    return str(kind.compile(dialect=DIALECT))
