"""SQL in migration scripts: names and texts quoted, statements as Alembic's operations."""

from __future__ import annotations

from alembic.operations import ops
from sqlalchemy.dialects.postgresql.base import PGDialect

# Quotes as Postgres does and no driver: the driver's doubles percent signs for its own use.
QUOTES = PGDialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def execute(statement: str) -> ops.ExecuteSQLOp:
    """An operation that runs one statement; a colon in a name is no parameter."""
    return ops.ExecuteSQLOp(statement.replace(":", "\\:"))


def quote_text(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
