"""Rows of the ledger as pages of JSON that Postgres made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg.rows import TupleRow

from api.database.connections import ReadConnections
from runtime.postgres.database import translate_error


def timestamp(column: str) -> str:
    """SQL that writes a time as RFC 3339 in UTC."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


class Part(NamedTuple):
    """Which part of a list is asked for."""

    before: int | None  # only what has a smaller number
    limit: int


async def fetch_part(
    read_connections: ReadConnections, statement: str, values: Mapping[str, object], part: Part
) -> tuple[bytes, int | None]:
    """The texts of a part's rows as the members of a JSON array, and the last one's number where there are more."""
    facts = {**values, "before": part.before, "limit": part.limit + 1}
    rows = await fetch(read_connections, statement, facts)
    behind = rows[part.limit - 1][0] if len(rows) > part.limit else None
    return b",".join(row[1] for row in rows[: part.limit]), behind


async def fetch(
    read_connections: ReadConnections, statement: str, values: Mapping[str, object] | Sequence[object]
) -> list[TupleRow]:
    """The rows of a statement on the read login; texts as bytes."""
    try:
        async with read_connections.connection() as connection:
            rows: list[TupleRow] = await (await connection.execute(statement.encode(), values)).fetchall()
            return rows
    except Exception as error:
        raise translate_error(error) from error


def text_of(value: str | bytes) -> str:
    """A text, which the read login leaves as bytes."""
    return value.decode() if isinstance(value, bytes) else value
