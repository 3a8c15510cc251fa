"""Dataset status: last loads, freshness, and what awaits a decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.model.freshness import LedgerState, evaluate_datasets, evaluate_freshness
from catalog.model.schedule import next_tick, scheduled_datasets
from catalog.status.failing_channels import find_failing
from catalog.status.ledger import LEDGER, by_place, ledger_values, parse_ledger, read_moment
from catalog.status.orphans import count_orphans
from catalog.storage.dataset_tables import CatalogTables


@dataclass(frozen=True)
class DatasetStatus:
    """How one dataset stands."""

    dataset: Dataset
    version: str  # of its contract
    freshness: dict[str, Any]
    next_load_at: datetime | None  # by a schedule
    facts: Mapping[str, Any] | None  # what the ledger knows; None where it is not migrated


def evaluate_statuses(catalog: Catalog, ledger: Mapping[str, Any], now: datetime) -> list[DatasetStatus]:
    """How every dataset stands, in loading order. Pure."""
    rows = by_place(ledger)
    known = {
        place: LedgerState(
            row["id"],
            row["revision"],
            in_utc(row["newest_at"]),
            in_utc(row["looked_at"]),
            SimpleNamespace(**row["refreshed"]) if row["refreshed"] else None,
        )
        for place, row in rows.items()
    }
    fresh = evaluate_datasets(catalog, known, now)
    ticks: dict[str, list[datetime]] = {}
    for dataset, cron in scheduled_datasets(catalog):
        ticks.setdefault(dataset.address, []).append(next_tick(cron, now))
    return [
        DatasetStatus(
            dataset,
            catalog.product_of(dataset).version,
            fresh.get(dataset.address) or evaluate_freshness(catalog, dataset, None, None, now),
            min(ticks.get(dataset.address, ()), default=None),
            rows.get((dataset.product, dataset.major, dataset.name)),
        )
        for dataset in catalog.datasets()
    ]


def read_status(
    engine: sa.Engine, catalog: Catalog, tables: CatalogTables, datasets: Iterable[Dataset], now: datetime
) -> list[dict[str, object]]:
    """Each dataset's head, last load, freshness, next load, and what waits or does not fit."""
    with engine.connect() as connection:
        text = connection.exec_driver_sql(LEDGER, ledger_values(catalog)).scalar_one()
        statuses = {each.dataset.address: each for each in evaluate_statuses(catalog, parse_ledger(text), now)}
        found = []
        datasets = list(datasets)
        migrated = {each.schema: each for each in datasets if statuses[each.address].facts}
        products = {schema: catalog.product_of(each) for schema, each in migrated.items()}
        failing = {schema: find_failing(connection, product, now) for schema, product in products.items()}
        for dataset in datasets:
            status = statuses[dataset.address]
            facts = status.facts or {}
            found.append(
                {
                    "dataset": dataset.address,
                    "version": status.version,
                    "revision": facts.get("revision"),
                    "records": facts.get("record_count"),
                    "published_at": in_utc(facts.get("published_at")),
                    **describe_last_load(facts.get("last_load") or {}),
                    **status.freshness,
                    "next_load_at": status.next_load_at,
                    "open_rejects": facts.get("open_rejects", 0),
                    "waiting_events": facts.get("waiting_events", 0),
                    "queued_loads": facts.get("queued", 0),
                    "lag": describe_lag(facts.get("lag"), now),
                    "orphans": count_orphans(connection, tables, dataset) if facts else {},
                    "failing_channels": failing[dataset.schema] if facts else [],
                }
            )
        return found


def describe_last_load(load: Mapping[str, Any]) -> dict[str, object]:
    """The last load of a dataset, as the command line has it."""
    return {
        "last_load": load.get("status"),
        "last_load_id": load.get("id"),
        "last_load_at": in_utc(load.get("finished_at") or load.get("started_at")),
        "error": load.get("error"),
    }


def describe_lag(lag: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """How far a stream was behind when it was measured last, and since when; None of what is no stream.

    `seconds` counts from the moment up to which everything had been read: it grows while nothing is measured.
    """
    if lag is None:
        return None
    caught_up_at = in_utc(lag["caught_up_at"])
    return {
        "topic": lag["topic"],
        "records": lag["records"],
        "seconds": max((now - caught_up_at).total_seconds(), 0.0) if caught_up_at is not None else None,
        "measured_at": in_utc(lag["measured_at"]),
        "error": lag["error"],
        "partitions": lag["partitions"],
    }


def in_utc(text: str | None) -> datetime | None:
    """A moment of the ledger, in UTC."""
    moment = read_moment(text)
    return moment.astimezone(UTC) if moment is not None else None
