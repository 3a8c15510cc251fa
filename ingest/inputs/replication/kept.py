"""Connections to sources, kept between two looks at a slot: to connect takes ten times as long as to ask.

Loads make their own. One connection is lent to one thread at a time; what failed is closed, and so is what is old.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from ingest.inputs.database.engine import make_url
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.replication.source import ReplicationOrigin, connect
from ingest.inputs.replication.table import source_of
from ingest.inputs.variables import VariableExpander

KEPT_SECONDS = 300.0

_kept: dict[sa.URL, tuple[float, sa.Connection]] = {}  # since when, and what is not lent now
_lock = threading.Lock()


@contextmanager
def borrow_origin(context: InputContext) -> Iterator[ReplicationOrigin]:
    """A connection to the source's database, kept or new; SourceError where that cannot be had."""
    source = source_of(context.source)
    url = make_url(source.database, VariableExpander(context.permits))  # permits and variables are those of now
    since, connection = take_kept(url) or (time.monotonic(), connect(context))
    try:
        yield ReplicationOrigin(connection, source)
    except BaseException:
        close(connection)
        raise
    with _lock:
        _, spare = _kept.pop(url, (0.0, None))
        _kept[url] = (since, connection)
    close(spare)


def take_kept(url: sa.URL) -> tuple[float, sa.Connection] | None:
    """A kept connection, and since when there is one; None where there is none. What is kept too long is closed."""
    now = time.monotonic()
    with _lock:
        old = [_kept.pop(other)[1] for other, (since, _) in list(_kept.items()) if now - since > KEPT_SECONDS]
        found = _kept.pop(url, None)
    for connection in old:
        close(connection)
    return found


def close_kept() -> None:
    """Closes every kept connection."""
    with _lock:
        connections = [connection for _, connection in _kept.values()]
        _kept.clear()
    for connection in connections:
        close(connection)


def close(connection: sa.Connection | None) -> None:
    """Closes a connection, whatever it says."""
    if connection is not None:
        with suppress(Exception):
            connection.close()
