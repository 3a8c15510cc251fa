"""Retention: deletes history, quarantine, raw batches, events and receipts past the product's retention period.

Every step is safe to run twice, and to be killed in. What can no longer be read is said to be gone before it goes:
first the dataset's oldest revision moves, then the rows are deleted, some at a time; first the ledger lets go of a
raw batch, then its file is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.model.load_request import Prune
from catalog.storage.dataset_tables import UNTIL, CatalogTables, DatasetTables
from catalog.storage.epoch import read_epochs
from catalog.storage.export_files import delete_exports
from catalog.storage.heads import is_head_of
from catalog.storage.ledger_tables import IDEMPOTENCY_HOURS, DatasetHead, Load, Revision
from catalog.storage.profile_tables import PastProfile
from ingest.landing.landing_zone import LandingZone
from ingest.ledger.failures import explain_failure, is_outage
from runtime.postgres.sql_types import SqlExpression
from runtime.settings.settings import Settings

ROWS_AT_ONCE = 10_000

CLOSED_REJECTS = """
DELETE FROM decant.rejected_records WHERE id IN (
  SELECT id FROM decant.rejected_records WHERE dataset_id = :dataset_id
  AND coalesce(closed_at, last_seen) < :horizon AND last_seen < :horizon LIMIT :most)
"""
RECEIPT_LINKS = """
DELETE FROM decant.receipt_events WHERE ctid IN (
  SELECT link.ctid FROM decant.receipt_events AS link JOIN decant.receipts AS r ON r.id = link.receipt_id
  WHERE r.dataset_id = :dataset_id AND r.received_at < :horizon LIMIT :most)
"""
RECEIPTS = """
DELETE FROM decant.receipts WHERE id IN (
  SELECT id FROM decant.receipts AS r WHERE dataset_id = :dataset_id AND received_at < :horizon
  AND NOT EXISTS (SELECT FROM decant.receipt_events WHERE receipt_id = r.id) LIMIT :most)
"""
EVENTS = """
DELETE FROM decant.events WHERE id IN (
  SELECT e.id FROM decant.events AS e JOIN decant.loads AS l ON l.id = e.load_id
  WHERE e.dataset_id = :dataset_id AND e.received_at < :horizon AND l.status IN ('published', 'unchanged')
  AND NOT EXISTS (SELECT FROM decant.receipt_events WHERE event = e.id) LIMIT :most)
"""
# The loads whose raw batch nobody will ask for again: older than the oldest kept revision's, ended, with nothing in
# quarantine that is open, and not the latest published batch.
FORGOTTEN_BATCHES = """
SELECT l.id FROM decant.loads AS l WHERE l.dataset_id = :dataset_id AND l.landed IS NOT NULL
AND l.status IN ('published', 'unchanged', 'failed') AND l.finished_at < :horizon
AND l.id < (SELECT load_id FROM decant.revisions WHERE dataset_id = :dataset_id AND revision = :oldest)
AND l.id < (SELECT max(id) FROM decant.loads WHERE dataset_id = :dataset_id AND status = 'published'
  AND kind IN ('ingest', 'refresh'))
AND NOT EXISTS (SELECT FROM decant.rejected_records WHERE load_id = l.id AND state = 'open')
ORDER BY l.id
"""


@dataclass
class Pruned:
    """What went of one dataset."""

    dataset: str
    oldest_revision: int = 0
    history: int = 0
    records: int = 0
    rejected: int = 0
    events: int = 0
    batches: int = 0
    files: int = 0
    bytes: int = 0
    notes: list[str] = field(default_factory=list)
    error: str | None = None  # why it was not pruned, or not to the end


@dataclass(frozen=True)
class Pruner:
    """Prunes datasets by what their products say."""

    settings: Settings
    engine: sa.Engine
    catalog: Catalog
    tables: CatalogTables
    withdraw: Callable[[Dataset, Prune], int]  # runs a load that takes records out for good; how many
    now: datetime

    def prune(self, datasets: Iterable[Dataset]) -> list[Pruned]:
        """What went of each of the datasets whose product says how long it keeps."""
        found = []
        for dataset in datasets:
            if self.catalog.product_of(dataset).sla.retention is None:
                continue
            try:
                pruned = self.prune_by_sla(dataset)
            except Exception as error:
                if is_outage(error):
                    raise
                # The other datasets are pruned all the same.
                pruned = Pruned(dataset.address, error=str(explain_failure(error)))
            if pruned is not None:
                found.append(pruned)
        delete_keys(self.engine, self.now)
        return found

    def prune_by_sla(self, dataset: Dataset) -> Pruned | None:
        """What went of one dataset by its product's retention; None where it has no table yet."""
        sla, tables = self.catalog.product_of(dataset).sla, self.tables.of(dataset)
        horizon = self.now - (sla.retention or timedelta.max)
        gone = 0
        element = sla.retention_elements.get(dataset.name)
        if element and count_old(self.engine, tables, element, horizon):
            gone = self.withdraw(dataset, Prune(element, horizon))
        pruned = prune_dataset(self.engine, self.settings, tables, horizon)
        if pruned is not None:
            pruned.records = gone
        return pruned


def prune_dataset(engine: sa.Engine, settings: Settings, tables: DatasetTables, horizon: datetime) -> Pruned | None:
    """What went of one dataset; None where it has no table yet."""
    dataset = tables.dataset
    with engine.connect() as connection:
        epoch = read_epochs(connection)[-1]
        head = connection.execute(sa.select(DatasetHead.__table__).where(is_head_of(dataset))).one_or_none()
    if head is None:
        return None
    pruned = Pruned(dataset.address)
    pruned.oldest_revision = move_oldest(engine, head.id, horizon)
    pruned.history = delete_history(engine, tables, pruned.oldest_revision)
    delete_past_profiles(engine, head.id, pruned.oldest_revision)
    delete_exports(settings, tables.dataset, before=(epoch, pruned.oldest_revision))
    facts = {"dataset_id": head.id, "horizon": horizon}
    pruned.rejected = repeat(engine, CLOSED_REJECTS, facts)
    repeat(engine, RECEIPT_LINKS, facts)
    repeat(engine, RECEIPTS, facts)
    pruned.events = repeat(engine, EVENTS, facts)
    delete_batches(engine, settings, facts | {"oldest": pruned.oldest_revision}, pruned)
    return pruned


def count_old(engine: sa.Engine, tables: DatasetTables, element: str, horizon: datetime) -> int:
    """How many records are older than the horizon."""
    with engine.connect() as connection:
        old = is_old(tables, element, horizon)
        try:
            return int(connection.execute(sa.select(sa.func.count()).where(old)).scalar_one())
        except sa.exc.ProgrammingError:
            return 0  # it has no table yet


def is_old(tables: DatasetTables, element: str, horizon: datetime) -> sa.ColumnElement[bool]:
    """The condition for records that are older than the horizon."""
    column = tables.current.c[tables.dataset.properties[element].column]
    limit: Any = horizon
    if isinstance(column.type, sa.Date):
        limit = horizon.date()
    elif isinstance(column.type, sa.DateTime) and not column.type.timezone:
        limit = horizon.replace(tzinfo=None)
    old: sa.ColumnElement[bool] = column < limit
    return old


def move_oldest(engine: sa.Engine, dataset_id: int, horizon: datetime) -> int:
    """The oldest revision that is kept: the one that was current at the horizon. Older ones are gone from now on."""
    current = sa.select(sa.func.max(Revision.revision)).where(
        Revision.dataset_id == dataset_id, Revision.published_at <= horizon
    )
    with engine.begin() as connection:
        oldest = connection.execute(current).scalar_one() or 0
        return int(
            connection.execute(
                sa.update(DatasetHead)
                .where(DatasetHead.id == dataset_id)
                .values(oldest_revision=sa.func.greatest(DatasetHead.oldest_revision, oldest))
                .returning(DatasetHead.oldest_revision)
            ).scalar_one()
        )


def delete_history(engine: sa.Engine, tables: DatasetTables, oldest: int) -> int:
    """How many rows of history went: those that no kept revision has."""
    history = tables.history
    # A row's place counts within its table, and each partition is one of its own.
    key: tuple[SqlExpression, ...] = (sa.literal_column("tableoid"), sa.literal_column("ctid"))
    some = sa.select(*key).select_from(history).where(history.c[UNTIL] <= oldest).limit(ROWS_AT_ONCE)
    total = 0
    while True:
        with engine.begin() as connection:
            gone = connection.execute(
                sa.delete(history).where(sa.tuple_(*key).in_(some)),
                execution_options={"preserve_rowcount": True},
            ).rowcount
        total += gone
        if gone < ROWS_AT_ONCE:
            return total


def delete_past_profiles(engine: sa.Engine, dataset_id: int, oldest: int) -> None:
    """Deletes the figures of revisions that can no longer be read: a minimum is a record's value."""
    past = sa.delete(PastProfile).where(PastProfile.dataset_id == dataset_id, PastProfile.revision < oldest)
    with engine.begin() as connection:
        connection.execute(past)


def repeat(engine: sa.Engine, statement: str, facts: dict[str, object]) -> int:
    """How many rows a statement deleted, some at a time."""
    total = 0
    while True:
        with engine.begin() as connection:
            gone = connection.execute(
                sa.text(statement), facts | {"most": ROWS_AT_ONCE}, execution_options={"preserve_rowcount": True}
            ).rowcount
        total += gone
        if gone < ROWS_AT_ONCE:
            return total


def delete_batches(engine: sa.Engine, settings: Settings, facts: dict[str, object], pruned: Pruned) -> None:
    """Lets go of raw batches that no kept revision, no quarantine and no unfinished load needs."""
    zone = LandingZone.of(settings)
    with engine.connect() as connection:
        loads = list(connection.scalars(sa.text(FORGOTTEN_BATCHES), facts))
    for load_id in loads:
        with engine.begin() as connection:
            landed = connection.execute(sa.select(Load.landed).where(Load.id == load_id)).scalar_one()
            connection.execute(sa.update(Load).where(Load.id == load_id).values(landed=None))
        pruned.batches += 1
        for part in landed["parts"]:
            size = zone.remove_unneeded(engine, part["sha256"])
            pruned.files += size is not None
            pruned.bytes += size or 0


def delete_keys(engine: sa.Engine, now: datetime) -> None:
    """Forgets the answers to requests that can no longer be repeated."""
    horizon = now - timedelta(hours=IDEMPOTENCY_HOURS)
    with engine.begin() as connection:
        connection.execute(
            sa.text("DELETE FROM decant.idempotency_keys WHERE created_at < :horizon"), {"horizon": horizon}
        )
