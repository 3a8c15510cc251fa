"""Dataset status: last load, freshness, and what awaits a decision."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.model.freshness import LedgerState, evaluate_datasets, evaluate_freshness
from catalog.model.schedule import next_load
from catalog.storage.dataset_tables import CatalogTables
from catalog.storage.ledger_tables import DatasetHead, Event, InputState, Load, RejectedRecord


def read_status(
    engine: sa.Engine, catalog: Catalog, tables: CatalogTables, datasets: Iterable[Dataset], now: datetime
) -> list[dict[str, object]]:
    """Each dataset's head, last load, freshness, next load, and what waits or does not fit."""
    with engine.connect() as connection:
        heads = {
            (row.product, row.major, row.dataset): row for row in connection.execute(sa.select(DatasetHead.__table__))
        }
        facts = read_ledger_state(connection)
        known = {
            index: LedgerState(
                head.id,
                head.revision,
                head.newest_at,
                facts["looked"].get(head.id),
                facts["refreshed"].get(head.id),
            )
            for index, head in heads.items()
        }
        fresh = evaluate_datasets(catalog, known, now)
        found = []
        for dataset in datasets:
            head = heads.get((dataset.product, dataset.major, dataset.name))
            row = {
                "dataset": dataset.address,
                "version": catalog.product_of(dataset).version,
                "revision": head.revision if head else None,
                "records": head.record_count if head else None,
                "published_at": head.published_at if head else None,
                **describe_load(facts["last"].get(head.id) if head else None),
                **(fresh.get(dataset.address) or evaluate_freshness(catalog, dataset, None, None, now)),
                "next_load_at": next_load(catalog, dataset, now),
            }
            for name in ("open_rejects", "waiting_events", "queued_loads"):
                row[name] = facts[name].get(head.id, 0) if head else 0
            row["orphans"] = count_orphans(connection, tables, dataset) if head else {}
            found.append(row)
    return found


def read_ledger_state(connection: sa.Connection) -> dict[str, dict[int, Any]]:
    """What the ledger knows of each dataset by its id."""
    count = sa.func.count()

    def by_dataset(statement: Any) -> dict[int, object]:
        return {row[0]: row[1] for row in connection.execute(statement)}

    rejects = sa.select(RejectedRecord.dataset_id, count).where(RejectedRecord.state == "open")
    events = sa.select(Event.dataset_id, count).where(Event.load_id.is_(None))
    queued = sa.select(Load.dataset_id, count).where(Load.status == "queued")
    latest = (
        sa.select(Load.__table__)
        .where(Load.kind != "dismiss")  # it would hide how the dataset's records fared
        .order_by(Load.dataset_id, Load.id.desc())
        .ext(distinct_on(Load.dataset_id))
    )
    refreshed = (
        sa.select(Load.__table__)
        .where(Load.kind == "refresh", Load.status.in_(("published", "unchanged")))
        .order_by(Load.dataset_id, Load.id.desc())
        .ext(distinct_on(Load.dataset_id))
    )
    return {
        "last": {row.dataset_id: row for row in connection.execute(latest)},
        "refreshed": {row.dataset_id: row for row in connection.execute(refreshed)},
        "looked": by_dataset(sa.select(InputState.dataset_id, InputState.last_success)),
        "open_rejects": by_dataset(rejects.group_by(RejectedRecord.dataset_id)),
        "waiting_events": by_dataset(events.group_by(Event.dataset_id)),
        "queued_loads": by_dataset(queued.group_by(Load.dataset_id)),
    }


def describe_load(load: Any) -> dict[str, object]:
    """The last load of a dataset."""
    return {
        "last_load": load.status if load else None,
        "last_load_id": load.id if load else None,
        "last_load_at": (load.finished_at or load.started_at) if load else None,
        "error": load.error if load else None,
    }


def count_orphans(connection: sa.Connection, tables: CatalogTables, dataset: Dataset) -> dict[str, int]:
    """How many records name a parent that is not there, by the properties that name it; nought is left out."""
    found = {}
    child = tables.of(dataset).current
    for key in dataset.foreign_keys:
        pair = tables.by_dataset.get((dataset.schema, key.dataset))
        if pair is None:
            continue
        parent = pair.current.alias("parent")
        own = [child.c[dataset.properties[name].column] for name in key.properties]
        theirs = [parent.c[pair.dataset.properties[name].column] for name in key.targets]
        same = sa.and_(*(left == right for left, right in zip(own, theirs, strict=True)))
        statement = (
            sa.select(sa.func.count())
            .select_from(child)
            .where(*(column.is_not(None) for column in own), ~sa.exists().where(same).select_from(parent))
        )
        if number := connection.execute(statement).scalar_one():
            found[",".join(key.properties)] = number
    return found
