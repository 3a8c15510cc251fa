"""Dispatcher: finds due work in the ledger and creates jobs; safe to run concurrently.

A sweep is one short transaction: loads are queued for schedules that have ticked, for events that wait and for
derived datasets that are behind what they read; then a job is made for every load that is due and has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, comes_continuously, is_derived, takes_events
from catalog.model.dependencies import needs_of
from catalog.model.freshness import Head, current_revisions, revisions_read
from catalog.model.load_request import FromSource
from catalog.model.schedule import last_tick, scheduled_datasets
from catalog.storage.installation_tables import SWEEP_LOCK, NamedLock
from catalog.storage.ledger_tables import QUEUE_SCHEMA, DatasetHead, Event, Load
from ingest.ledger.events import release_events
from ingest.ledger.failed_loads import OPEN, write_failure
from ingest.ledger.lease import held_datasets
from ingest.ledger.queue import EVENTS_QUEUE, LOADS_QUEUE, defer_job, drop_stalled_jobs, find_jobs, insert_load
from ingest.ledger.retry_policy import choose_delay, give_up
from ingest.worker.due_loads import Unfinished, choose_due, is_lost_for_good

SWEEP_LIMIT = "10s"  # for a sweep whose process fell asleep in it
OLDEST_FIRST = 1000  # unfinished loads looked at in one sweep
PUBLIC_MEMBERS = ("id", "dataset_id", "status", "attempt", "started_at", "retry_at", "lease_until")


@dataclass
class Swept:
    """What a sweep found and did."""

    queued: list[int] = field(default_factory=list)
    ticks: int = 0  # of these, for schedules
    deferred: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)  # loads given up
    outdated: set[str] = field(default_factory=set)  # datasets whose contract here is not the migrated one
    unfinished: int = 0


class Dispatcher:
    """Turns what the ledger says into jobs."""

    def __init__(self, engine: sa.Engine, catalog: Catalog) -> None:
        self.engine = engine
        self.catalog = catalog

    def sweep(self, now: datetime | None = None, new_data: Iterable[Dataset] = ()) -> Swept:
        """Queues and defers all that is due; `new_data` are the datasets whose watched input has something new."""
        swept = Swept()
        now = now or datetime.now(UTC)
        with self.begin() as connection:
            if connection is None:
                return swept
            heads = self.read_heads(connection, swept)
            self.queue_ticks(connection, heads, now, swept)
            self.queue_events(connection, heads, now, swept)
            self.queue_new_data(connection, heads, new_data, now, swept)
            self.queue_refreshes(connection, heads, swept)
            self.defer_due(connection, heads, now, swept)
        return swept

    @contextmanager
    def begin(self) -> Iterator[sa.Connection | None]:
        """A transaction of its own; None while another worker sweeps."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL search_path TO {QUEUE_SCHEMA}")
            for limit in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"):
                connection.exec_driver_sql(f"SET LOCAL {limit} = '{SWEEP_LIMIT}'")
            mine = sa.select(NamedLock.name).where(NamedLock.name == SWEEP_LOCK).with_for_update(skip_locked=True)
            alone = connection.execute(mine).one_or_none() is not None
            yield connection if alone else None

    def read_heads(self, connection: sa.Connection, swept: Swept) -> dict[tuple[str, str], Head]:
        """The heads of the datasets that can be loaded, by schema and name."""
        rows = connection.execute(sa.select(DatasetHead.__table__))
        known = {(row.product, row.major, row.dataset): row for row in rows}
        heads = {}
        for dataset in self.catalog.datasets():
            row = known.get((dataset.product, dataset.major, dataset.name))
            if row is None or row.contract_sha256 != self.catalog.product_of(dataset).sha256:
                swept.outdated.add(dataset.address)
            else:
                heads[dataset.schema, dataset.name] = Head(row.id, row.revision, dataset)
        return heads

    def queue_ticks(
        self, connection: sa.Connection, heads: Mapping[tuple[str, str], Head], now: datetime, swept: Swept
    ) -> None:
        """A load for each schedule that has ticked since its dataset was last loaded, one however many ticks."""
        ticks: dict[int, tuple[datetime, Head]] = {}
        for dataset, cron in scheduled_datasets(self.catalog):
            if head := heads.get((dataset.schema, dataset.name)):
                earlier = [ticks[head.id][0]] if head.id in ticks else []
                ticks[head.id] = (max([last_tick(cron, now), *earlier]), head)
        if not ticks:
            return
        timestamps = [timestamp for timestamp, _ in ticks.values()]
        tick = (
            sa.func.unnest(
                sa.literal(list(ticks), sa.ARRAY(sa.BigInteger)),
                sa.literal(timestamps, sa.ARRAY(sa.TIMESTAMP(timezone=True))),
            )
            .table_valued("dataset_id", "moment", name="tick")
            .render_derived()
        )
        done = sa.select(Load.id).where(
            Load.dataset_id == tick.c.dataset_id,
            Load.kind.in_(("ingest", "refresh")),  # others read nothing of the input
            sa.or_(
                Load.scheduled_at >= tick.c.moment,
                Load.status == "queued",
                sa.and_(Load.started_at >= tick.c.moment, Load.status.in_(("running", "published", "unchanged"))),
            ),
        )
        for dataset_id in connection.scalars(sa.select(tick.c.dataset_id).where(~done.exists())).all():
            timestamp, head = ticks[dataset_id]
            kind = FromSource().kind(head.dataset)
            swept.queued.append(insert_load(connection, dataset_id, kind, scheduled_at=timestamp))
            swept.ticks += 1

    def queue_events(
        self, connection: sa.Connection, heads: Mapping[tuple[str, str], Head], now: datetime, swept: Swept
    ) -> None:
        """A load for each dataset with pushed events that wait."""
        fed = [head for head in heads.values() if takes_events(head.dataset)]
        if not fed:
            return
        waiting = sa.select(Event.id).where(Event.dataset_id == DatasetHead.id, Event.load_id.is_(None)).exists()
        statement = sa.select(DatasetHead.id).where(DatasetHead.id.in_([head.id for head in fed]), waiting)
        for dataset_id in connection.scalars(statement).all():
            self.queue_once(connection, dataset_id, now, swept)

    def queue_new_data(
        self,
        connection: sa.Connection,
        heads: Mapping[tuple[str, str], Head],
        new_data: Iterable[Dataset],
        now: datetime,
        swept: Swept,
    ) -> None:
        """Queues a load for each watched dataset with new data."""
        for dataset in new_data:
            if head := heads.get((dataset.schema, dataset.name)):
                self.queue_once(connection, head.id, now, swept)

    def queue_once(self, connection: sa.Connection, dataset_id: int, now: datetime, swept: Swept) -> None:
        """A load for a dataset, unless one is under way or it is too early after those that failed."""
        latest = connection.execute(
            sa.select(Load.status, Load.started_at, Load.finished_at)
            .where(Load.dataset_id == dataset_id, Load.kind == "ingest")
            .order_by(Load.id.desc())
            .limit(8)
        ).all()
        failures = 0
        for row in latest:
            if row.status in OPEN:
                return
            if row.status in {"published", "unchanged"}:
                break
            failures += 1
        if failures:
            ended = latest[0].finished_at or latest[0].started_at
            if ended + timedelta(seconds=choose_delay(failures)) > now:
                return
        swept.queued.append(insert_load(connection, dataset_id, "ingest"))

    def queue_refreshes(self, connection: sa.Connection, heads: Mapping[tuple[str, str], Head], swept: Swept) -> None:
        """A refresh for each derived dataset that has not read the current revisions of what its query reads."""
        derived = [head for head in heads.values() if is_derived(head.dataset)]
        if not derived:
            return
        rows = connection.execute(
            sa.select(Load.dataset_id, Load.status, Load.cause, Load.landed, Load.position)
            .where(Load.dataset_id.in_([head.id for head in derived]), Load.kind == "refresh")
            .order_by(Load.dataset_id, Load.id.desc())
            .ext(distinct_on(Load.dataset_id))
        )
        latest = {row.dataset_id: row for row in rows}
        for head in derived:
            current = current_revisions(head.dataset, heads)
            row = latest.get(head.id)
            if row is not None and row.status in OPEN:
                continue
            read = revisions_read(row) if row is not None else {}
            if any(revision > read.get(name, 0) for name, revision in current.items()):
                cause = {"revisions": current}
                swept.queued.append(insert_load(connection, head.id, "refresh", cause=cause))

    def defer_due(
        self, connection: sa.Connection, heads: Mapping[tuple[str, str], Head], now: datetime, swept: Swept
    ) -> None:
        """A job for each load that is due and has none; an end for those that only ever lost their workers."""
        drop_stalled_jobs(connection)
        by_id = {head.id: head for head in heads.values()}
        columns = [getattr(Load, name) for name in PUBLIC_MEMBERS]
        rows = connection.execute(
            sa.select(*columns)
            .where(Load.status.in_(OPEN), Load.dataset_id.in_(list(by_id)))
            .order_by(Load.id)
            .limit(OLDEST_FIRST)
        )
        unfinished = [Unfinished(*row) for row in rows]
        silent = held_datasets(connection)
        for load in [load for load in unfinished if is_lost_for_good(load, silent, now)]:
            unfinished.remove(load)
            if end_lost(connection, load):
                swept.lost.append(load.id)
        swept.unfinished = len(unfinished)
        needs = {
            head.id: {heads[key].id for key in needs_of(head.dataset) if key in heads} for head in heads.values()
        }
        for load in choose_due(unfinished, needs, silent, find_jobs(connection), now):
            queue = EVENTS_QUEUE if comes_continuously(by_id[load.dataset_id].dataset) else LOADS_QUEUE
            defer_job(connection, load.id, queue)
            swept.deferred.append(load.id)


def end_lost(connection: sa.Connection, load: Unfinished) -> bool:
    """Whether a load that no worker survives was ended; not while somebody publishes its dataset."""
    lost = f"{load.attempt} workers ended during this load: it may need more memory than is available."
    values = {"error_code": "worker_lost", "error": lost, "lease_until": None, **give_up()}
    ended = write_failure(connection, load.id, values, Load.status == "running", wait=False)
    release_events(connection, load.id)
    return ended
