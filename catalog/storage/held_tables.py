"""Tables held by a transaction that sees one state of the database in all of its statements.

A migration that copies a table, or converts a column, leaves another one in its place. To a transaction that began
to look at the database before, and comes to the table afterwards, it is empty: so it takes hold of the table first.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import sqlalchemy as sa

from catalog.sql.query import quote


def write_hold(tables: Iterable[sa.Table]) -> str:
    """The statement that holds tables; before any other one that reads."""
    names = ", ".join(f"{quote(table.schema or '')}.{quote(table.name)}" for table in tables)
    return f"LOCK TABLE {names} IN ACCESS SHARE MODE"


def hold_tables(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    """Holds tables until the transaction ends; what is wrong with one is left to the statement that reads it."""
    wanted = list(tables)
    if wanted:
        with suppress(sa.exc.ProgrammingError), connection.begin_nested():
            connection.execute(sa.text(write_hold(wanted).replace(":", r"\:")))
