"""A worker's presence: a row that says since when it works, when it was seen last, and when it ended.

The task queue has heartbeats of its own; they go with the worker, and say nothing of one that is gone.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from catalog.storage.installation_tables import WorkerPresence
from ingest.ledger.queue import HEARTBEAT_SECONDS

KEPT = "7 days"  # after its end, or its last sign of life
JOIN_SECONDS = 2.0


@contextmanager
def keep_present(engine: sa.Engine, concurrency: int) -> Iterator[None]:
    """Says that the worker is alive while the context lasts, and that it ended afterwards.

    A database that is away for a moment is told when it is back; nobody waits for it.
    """
    over = threading.Event()

    def tell() -> None:
        worker_id: int | None = None
        ended = False
        while not ended:
            ended = over.is_set()
            with suppress(sa.exc.SQLAlchemyError):
                with engine.begin() as connection:
                    arrived = worker_id or arrive(connection, concurrency)
                    note_seen(connection, arrived, ended=ended)
                worker_id = arrived
            if not ended:
                over.wait(HEARTBEAT_SECONDS)

    thread = threading.Thread(target=tell, name="presence of the worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(JOIN_SECONDS)


def arrive(connection: sa.Connection, concurrency: int) -> int:
    """The id of a new worker; those that are long gone are forgotten."""
    old = WorkerPresence.seen_at < sa.func.now() - sa.cast(KEPT, sa.Interval)
    connection.execute(sa.delete(WorkerPresence).where(old))
    values = {"host": socket.gethostname(), "concurrency": concurrency}
    statement = sa.insert(WorkerPresence).values(**values).returning(WorkerPresence.id)
    return int(connection.execute(statement).scalar_one())


def note_seen(connection: sa.Connection, worker_id: int, *, ended: bool) -> None:
    """Notes that the worker is alive, or that it has just ended."""
    now = sa.func.clock_timestamp()
    values = {"seen_at": now} | ({"ended_at": now} if ended else {})
    connection.execute(sa.update(WorkerPresence).where(WorkerPresence.id == worker_id).values(**values))
