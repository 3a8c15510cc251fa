"""The task queue: one kind of job, "run load N". A job is a hint; its subject is in the ledger.

Whoever wants a load writes it into the ledger as `queued` and wakes the workers. Only they make jobs, for what the
ledger says is due: a job that is lost, doubled or late changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import procrastinate
import sqlalchemy as sa

from catalog.storage.channels import LOADS_CHANNEL
from catalog.storage.installation_tables import STALLED_SECONDS
from catalog.storage.ledger_tables import QUEUE_SCHEMA, Load
from ingest.errors import SourceUnavailableError
from runtime.postgres.database import APPLICATION_NAME

LOADS_QUEUE = "loads"
EVENTS_QUEUE = "events"  # pushed events wait for no file that takes an hour
TASK = "run_load"
HEARTBEAT_SECONDS = 2.0
POLLING_SECONDS = 2.0
CONNECT_SECONDS = 5.0

JOBS = sa.table(
    "procrastinate_jobs",
    sa.column("id"),
    sa.column("status"),
    sa.column("args"),
    sa.column("worker_id"),
    schema=QUEUE_SCHEMA,
)
WORKERS = sa.table("procrastinate_workers", sa.column("id"), sa.column("last_heartbeat"), schema=QUEUE_SCHEMA)


def insert_load(
    connection: sa.Connection,
    dataset_id: int,
    kind: str,
    *,
    requested_by: str | None = None,
    scheduled_at: datetime | None = None,
    cause: dict[str, Any] | None = None,
) -> int:
    """The id of a new row of the ledger, `queued`."""
    values = {"requested_by": requested_by, "scheduled_at": scheduled_at, "cause": cause}
    statement = sa.insert(Load).values(dataset_id=dataset_id, kind=kind, status="queued", attempt=0, **values)
    return int(connection.execute(statement.returning(Load.id)).scalar_one())


def hasten_loads(connection: sa.Connection, dataset_id: int) -> None:
    """Has the loads of a dataset tried again now that wait because their source did not answer."""
    waiting = (Load.status == "queued", Load.error_code == SourceUnavailableError.code, Load.retry_at > sa.func.now())
    hastened = sa.update(Load).where(Load.dataset_id == dataset_id, *waiting).values(retry_at=sa.func.now())
    if connection.execute(hastened, execution_options={"synchronize_session": False}).rowcount:
        wake_workers(connection)


def wake_workers(connection: sa.Connection) -> None:
    """Notifies the workers, once the transaction is committed, to look into the ledger."""
    connection.execute(sa.select(sa.func.pg_notify(LOADS_CHANNEL, "")))


def make_queue(url: str, concurrency: int, run: Callable[[int], Awaitable[None]]) -> procrastinate.App:
    """The queue as a worker sees it: `run` is called with the id of each load that is due."""
    connector = procrastinate.PsycopgConnector(
        conninfo=url,
        kwargs={"application_name": f"{APPLICATION_NAME}-queue", "options": f"-c search_path={QUEUE_SCHEMA}"},
        min_size=1,
        max_size=concurrency + 4,
        timeout=CONNECT_SECONDS,
    )
    app = procrastinate.App(connector=connector)

    @app.task(name=TASK)
    async def run_load(load_id: int) -> None:
        await run(load_id)

    return app


def defer_job(connection: sa.Connection, load_id: int, queue: str) -> None:
    """Makes the job of a load, in the transaction of the connection, whose search path is the queue's."""
    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
    driver = connection.connection.driver_connection
    app.configure_task(TASK, queue=queue, queueing_lock=f"load-{load_id}", connection=driver).defer(load_id=load_id)


def find_jobs(connection: sa.Connection) -> set[int]:
    """The loads that have a job, waiting or running."""
    load_id = JOBS.c.args.op("->>")("load_id")
    rows = connection.scalars(sa.select(load_id).where(sa.cast(JOBS.c.status, sa.Text).in_(("todo", "doing"))))
    return {int(row) for row in rows}


def drop_stalled_jobs(connection: sa.Connection) -> int:
    """How many jobs were taken from workers that are gone."""
    horizon = sa.func.now() - sa.cast(f"{STALLED_SECONDS} seconds", sa.Interval)
    alive = sa.select(WORKERS.c.id).where(WORKERS.c.last_heartbeat > horizon)
    statement = sa.delete(JOBS).where(
        sa.cast(JOBS.c.status, sa.Text) != "todo",
        sa.or_(JOBS.c.worker_id.is_(None), JOBS.c.worker_id.not_in(alive)),
    )
    return connection.execute(statement).rowcount
