"""The indexes of text searches, which are made of an expression over several columns.

They are no part of the migrations' scripts: a change of what is searched never rewrites a table, and Alembic cannot
compare expressions. `decant migrate` makes those that the contract wants and drops the others.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from catalog.model.dataset import Product, shorten_name
from catalog.storage.dataset_tables import DatasetTables, build_tables, name_table, search_vector

SEARCH_PREFIX = "sx_"
DIALECT: sa.Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


def match_searches(connection: sa.Connection, product: Product) -> None:
    """Nothing comes back; the product's tables have the search indexes that its contract asks for, and no others."""
    places = {
        name_table(dataset, history=history): dataset
        for dataset in product.datasets.values()
        for history in (False, True)
    }
    rows = connection.execute(
        sa.text(
            "SELECT tablename, indexname FROM pg_indexes WHERE schemaname = :schema AND tablename = ANY(:tables)"
            " AND starts_with(indexname, :prefix) ORDER BY indexname"
        ),
        {"schema": product.schema, "tables": list(places), "prefix": SEARCH_PREFIX},
    )
    known: dict[str, list[str]] = {}  # of each dataset
    for table, index in rows:
        known.setdefault(places[table].name, []).append(index)
    # Tables are made for few: most datasets have nothing that is searched.
    concerned = [each for each in product.datasets.values() if each.searched or each.name in known]
    for dataset in concerned:
        tables = build_tables([replace(product, datasets={dataset.name: dataset})]).of(dataset)
        both = (tables.current, tables.history) if dataset.searched else ()
        wanted = dict(search_index(tables, table) for table in both)
        present = known.get(dataset.name, [])
        for name in present:
            if name not in wanted:
                connection.execute(sa.text(f"DROP INDEX {quote(product.schema)}.{quote(name)}"))
        for name, statement in wanted.items():
            if name not in present:
                connection.exec_driver_sql(statement)


def search_index(tables: DatasetTables, table: sa.Table) -> tuple[str, str]:
    """The name of a table's search index, which changes with what it holds, and the statement that makes it."""
    columns = SimpleNamespace(c={column.name: sa.column(column.name, column.type) for column in table.columns})
    expression = search_vector(tables.dataset, columns).compile(dialect=DIALECT)
    digest = hashlib.sha256(str(expression).encode()).hexdigest()[:8]
    name = shorten_name(f"{SEARCH_PREFIX}{table.name}_{digest}")
    place = f"{quote(table.schema or '')}.{quote(table.name)}"
    return name, f"CREATE INDEX {quote(name)} ON {place} USING gin (({expression}))"


def quote(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
