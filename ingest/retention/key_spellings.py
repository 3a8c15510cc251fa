"""How the key that is erased may be written: one value has several texts, such as `7` and `+007`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from catalog.storage.dataset_tables import DatasetTables
from runtime.duckdb_connection import open_duckdb


def spell_key(
    connection: sa.Connection, tables: DatasetTables, parts: Sequence[str], values: Sequence[Any]
) -> list[list[str]]:
    """The parts of the key as they were given, and as Postgres and DuckDB write their values into quarantine."""
    properties = [tables.dataset.properties[name] for name in tables.dataset.key]
    columns = [tables.current.c[prop.column] for prop in properties]
    texts = [
        sa.cast(sa.cast(sa.literal(value, column.type), column.type), sa.Text)
        for value, column in zip(values, columns, strict=True)
    ]
    by_postgres = connection.execute(sa.select(*texts)).one()
    casts = ", ".join(f"CAST(CAST(? AS {prop.type.duckdb}) AS VARCHAR)" for prop in properties)
    with open_duckdb() as engine:
        by_duckdb = engine.execute(f"SELECT {casts}", list(values)).fetchone() or ()
    spellings: list[list[str]] = []
    for found in (parts, by_postgres, by_duckdb):
        if list(found) not in spellings:
            spellings.append([str(text) for text in found])
    return spellings
