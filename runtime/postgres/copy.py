"""COPY of a file into a table."""

from __future__ import annotations

from pathlib import Path

import psycopg
import sqlalchemy as sa

COPY_BLOCK_BYTES = 1 << 18


def driver_of(connection: sa.Connection) -> psycopg.Connection:
    """The psycopg connection below, for COPY."""
    return connection.connection.driver_connection  # type: ignore[return-value]


def copy_file(connection: sa.Connection, target: str, file: Path) -> None:
    """COPYs a CSV file without header into `target`, on the connection's own transaction."""
    statement = f"COPY {target} FROM STDIN (FORMAT csv)".encode()
    with file.open("rb") as source, driver_of(connection).cursor() as cursor, cursor.copy(statement) as copy:
        while block := source.read(COPY_BLOCK_BYTES):
            copy.write(block)
