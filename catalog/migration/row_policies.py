"""The predicates of roles, tried on their tables: whether Postgres can compare what they compare."""

from __future__ import annotations

import psycopg
import sqlalchemy as sa

from catalog.model.dataset import Dataset, Product
from catalog.model.roles import RowPredicate
from catalog.sql.query import quote
from runtime.errors import MigrationError


def check_predicates(connection: sa.Connection, product: Product) -> None:
    """MigrationError for the first predicate that Postgres does not take; nothing is read."""
    for role in product.roles:
        for name, predicate in (role.rows or {}).items():
            if predicate is not None:
                try_predicate(connection, role.scope, product.datasets[name], predicate)


def try_predicate(connection: sa.Connection, scope: str, dataset: Dataset, predicate: RowPredicate) -> None:
    """Plans a query with the predicate."""
    condition = predicate.render(lambda name: f"record.{quote(dataset.properties[name].column)}")
    table = f"{quote(dataset.schema)}.{quote(dataset.table)}"
    # The driver's own cursor: a percent sign is part of the condition, no parameter.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"EXPLAIN SELECT FROM {table} AS record WHERE {condition}")
    except psycopg.Error as error:
        connection.rollback()
        problem = str(error).splitlines()[0]
        raise MigrationError(
            f"{dataset.address}: the role {scope} cannot be limited to its rows: {problem}"
        ) from None
    finally:
        cursor.close()
