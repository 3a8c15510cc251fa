"""Statements that SQLAlchemy compiled for one engine, for all engines of a test process.

Each product of a test has engines of its own, and each engine compiles what it executes first: the ledger's
statements, again and again, for a third of the time in which a product is made and loaded.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache

STATEMENTS = 1_000  # that are kept; SQLAlchemy keeps 500 for each engine
URL_PREFIX = "postgresql+psycopg://"
# Options that say nothing about how a statement is compiled.
OF_CONNECTIONS = {"connect_args", "poolclass", "max_overflow", "pool_reset_on_return"}


def share_compiled_statements() -> None:
    """From here on, engines for PostgreSQL have one dialect, to which compiled statements belong, and one cache."""
    create = sa.create_engine
    cache: LRUCache[Any, Any] = LRUCache(STATEMENTS)
    shared: sa.Dialect | None = None

    def create_engine(url: Any, **options: Any) -> sa.Engine:
        nonlocal shared
        engine = create(url, **options)
        if not str(url).startswith(URL_PREFIX) or not options.keys() <= OF_CONNECTIONS:
            return engine
        if shared is None or shared.server_version_info is None:
            shared = engine.dialect  # it knows the server once its engine has connected
        else:
            engine.dialect = shared
            engine._compiled_cache = cache
        return engine

    sa.create_engine = create_engine
