"""Statements that SQLAlchemy compiled for one engine, for all engines of a test process.

Each product of a test has engines of its own, and each engine compiles what it executes first: the ledger's
statements, again and again, for a third of the time in which a product is made and loaded.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.util import LRUCache

STATEMENTS = 1_000  # that are kept; SQLAlchemy keeps 500 for each engine
URL_PREFIX = "postgresql+psycopg://"
# Options that say nothing about how a statement is compiled.
OF_CONNECTIONS = {"connect_args", "poolclass", "max_overflow", "pool_reset_on_return", "use_native_hstore"}


def share_compiled_statements() -> None:
    """From here on, engines for PostgreSQL have one cache, in which all dialects of their driver are the same."""
    create = sa.create_engine
    cache: LRUCache[Any, Any] = LRUCache(STATEMENTS)

    def create_engine(url: Any, **options: Any) -> sa.Engine:
        engine = create(url, **options)
        if str(url).startswith(URL_PREFIX) and options.keys() <= OF_CONNECTIONS:
            engine._compiled_cache = cache
        return engine

    def equals(dialect: PGDialect_psycopg, other: object) -> bool:
        return type(dialect) is type(other)

    sa.create_engine = create_engine
    # A compiled statement is found by its dialect, too.
    PGDialect_psycopg.__eq__ = equals  # type: ignore[method-assign, assignment]
    PGDialect_psycopg.__hash__ = lambda dialect: hash(type(dialect))  # type: ignore[method-assign]
