"""Statements of SQLAlchemy -> their text: every name quoted, each parameter at its place and nowhere else. Pure.

A name may hold what looks like a parameter, such as `price$1` or `%(f0)s`. So no text is searched for parameters:
each is delimited by a character that no name and no constant can hold, and the text is split there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from psycopg import sql as psycopg_sql
from sqlalchemy.dialects.postgresql import psycopg as driver

from api.database.statement import Statement
from runtime.postgres.sql_types import SqlQuery

DELIMITER = "\0"  # Postgres takes it in no name and in no text


class QuotingPreparer(driver.PGIdentifierPreparer_psycopg):
    """Quotes every name, whatever it looks like."""

    def _requires_quotes(self, value: str) -> bool:
        return True


class MarkingCompiler(driver.PGCompiler_psycopg):
    """Puts delimiters around the names of parameters."""

    def bindparam_string(self, name: str, *arguments: Any, **options: Any) -> str:
        """The parameter in the statement, with its cast."""
        text = super().bindparam_string(name, *arguments, **options)
        return text.replace(f":{name}", f"{DELIMITER}{name}{DELIMITER}", 1)


class MarkingDialect(driver.PGDialect_psycopg):
    """Postgres, for statements that are taken apart at their parameters."""

    statement_compiler = MarkingCompiler
    preparer = QuotingPreparer
    supports_statement_cache = True


DIALECT: sa.Dialect = MarkingDialect(paramstyle="named")  # type: ignore[no-untyped-call]


def split_at_parameters(statement: SqlQuery) -> list[str]:
    """The statement's text, and at every second place the name of a parameter."""
    return str(statement.compile(dialect=DIALECT)).split(DELIMITER)


def render(statement: SqlQuery, *, keep_plan: bool = False) -> Statement:
    """The statement with its parameters numbered, and their names in order."""
    parts = split_at_parameters(statement)
    names = tuple(dict.fromkeys(parts[1::2]))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    text = "".join(numbers[part] if index % 2 else part for index, part in enumerate(parts))
    return Statement(text.encode(), names, keep_plan)


def render_literals(statement: SqlQuery, values: Mapping[str, object]) -> str:
    """The statement with its values quoted in their places: COPY, through which exports run, takes no parameters.

    Each is in brackets: a cast binds closer than a sign, and no type holds its lowest integer without the sign.
    """
    return "".join(
        f"({psycopg_sql.Literal(values[part]).as_string(None)})" if index % 2 else part
        for index, part in enumerate(split_at_parameters(statement))
    )
