"""Dataset lock and load lease: one holder at a time, and none that stalls longer than its lease.

Two things hold a dataset: an advisory lock, which goes with its connection, so that a worker that was killed holds up
nobody; and the running load's lease, which is renewed as long as the process runs, so that one that only sleeps is
overtaken. Its fencing token keeps it from publishing when it wakes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import DatasetHead, Load
from ingest.errors import DatasetBusyError, IngestError
from runtime.postgres.sql_types import SqlExpression

LEASE_SECONDS = 600
RENEWAL_SECONDS = LEASE_SECONDS / 5
LOCK_CLASS = 0x6465_6361  # the first half of the advisory locks that loads hold

# The sessions that hold the lock of each dataset, and for how long each has said nothing: a session that runs a load
# says nothing between the steps, and for ever when its process sleeps.
HOLDERS = sa.text(
    "SELECT l.objid::bigint AS dataset_id, extract(epoch FROM now() - a.state_change)::float AS silent_seconds"
    " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :lock_class AND l.objsubid = 2"
    # Anybody may take a lock whose number they know: it counts where its holder could be a loader.
    " AND has_table_privilege(a.usesysid, 'decant.datasets', 'UPDATE')"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def take_lease(fencing_token: int) -> dict[str, object]:
    """The columns of a load that takes the lease now, under a token; `ingest/ledger/loads.py` writes them."""
    return {"lease_until": lease_end(), "fencing_token": fencing_token}


def lease_end() -> SqlExpression:
    """When a lease that is taken now runs out."""
    return sa.func.now() + sa.cast(f"{LEASE_SECONDS} seconds", sa.Interval)


@contextmanager
def lock_dataset(engine: sa.Engine, dataset: Dataset) -> Iterator[int]:
    """The id of the dataset's head, held against other loads as long as this process lives."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(DatasetHead.id).where(is_head_of(dataset))).one_or_none()
        if row is None:
            raise IngestError(f"{dataset.address} has no table yet. Run `decant migrate`.")
        lock = sa.select(sa.func.pg_try_advisory_lock(LOCK_CLASS, sa.cast(row.id, sa.Integer)))
        alone = connection.execute(lock).scalar_one()
        if not alone and not is_awake(connection, row.id):
            # A holder that ended in between has left the lock to be taken; one that sleeps still has it.
            alone = connection.execute(lock).scalar_one()
        if not alone and is_awake(connection, row.id):
            raise DatasetBusyError(f"Another worker is loading {dataset.address}. Retry when it has ended.")
        connection.commit()
        try:
            yield row.id
        finally:
            # Closing the connection does it, too, but some time later: the next load need not wait for that.
            if alone:
                with suppress(sa.exc.DBAPIError):
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(LOCK_CLASS, sa.cast(row.id, sa.Integer))))


def is_awake(connection: sa.Connection, dataset_id: int) -> bool:
    """Whether the holder of the dataset's lock still works: a lease that runs, or no load but a fresh session."""
    lease = sa.select(sa.func.max(Load.lease_until) > sa.func.now()).where(
        Load.dataset_id == dataset_id, Load.status == "running"
    )
    running: bool | None = connection.execute(lease).scalar_one()
    if running is not None:
        return running
    # Before its load is open and after it is over, a holder has no lease: then its session counts.
    return held_datasets(connection).get(dataset_id, LEASE_SECONDS) < LEASE_SECONDS


def held_datasets(connection: sa.Connection) -> dict[int, float]:
    """The datasets whose lock somebody holds, and for how many seconds each holder's session has been silent."""
    rows = connection.execute(HOLDERS, {"lock_class": LOCK_CLASS})
    return {int(row.dataset_id): float(row.silent_seconds or 0) for row in rows}


def renew_lease(engine: sa.Engine, load_id: int, fencing_token: int) -> None:
    """Keeps the load its own for another while."""
    # One statement is a transaction by itself: to begin and to end one takes twice as long as the statement.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            sa.update(Load)
            .where(Load.id == load_id, Load.fencing_token == fencing_token, Load.status == "running")
            .values(lease_until=lease_end())
        )


@contextmanager
def keep_lease(engine: sa.Engine, load_id: int, fencing_token: int) -> Iterator[None]:
    """Renews the lease while the context lasts, however long a step takes: only a process that sleeps loses it."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEWAL_SECONDS):
            # A database that is away for a moment has forgotten no lease.
            with suppress(sa.exc.DBAPIError):
                renew_lease(engine, load_id, fencing_token)

    thread = threading.Thread(target=renew, name=f"lease of load {load_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=1)
