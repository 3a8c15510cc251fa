"""Evaluates dataset freshness from the ledger against the contracts' service levels. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, is_derived
from catalog.model.dependencies import find_read, reads_of


@dataclass(frozen=True)
class Head:
    """A dataset with its head in the database."""

    id: int
    revision: int
    dataset: Dataset


@dataclass(frozen=True)
class LedgerState:
    """What the ledger knows of a dataset that says how fresh it is."""

    id: int
    revision: int
    newest_at: datetime | None  # of the property that the contract's latency names
    looked_at: datetime | None  # when a load last ended well
    refreshed: object = None  # of a derived dataset, its last load that ended well: cause, landed, position


def evaluate_datasets(
    catalog: Catalog, facts: Mapping[tuple[str, int, str], LedgerState], now: datetime
) -> dict[str, dict[str, object]]:
    """How fresh each migrated dataset is, by its address: one answer for command line, API and metrics."""
    looked = find_looks(catalog, facts)
    return {
        dataset.address: evaluate_freshness(catalog, dataset, looked.get(dataset.address), known.newest_at, now)
        for dataset in catalog.datasets()
        if (known := facts.get((dataset.product, dataset.major, dataset.name))) is not None
    }


def find_looks(catalog: Catalog, facts: Mapping[tuple[str, int, str], LedgerState]) -> dict[str, datetime | None]:
    """When each dataset was last known to hold what its source held, by address.

    That is when a load last ended well, whether it changed anything or not. A derived dataset that has read the
    current revisions is as fresh as what it reads.
    """
    places = {}
    for dataset in catalog.datasets():
        if row := facts.get((dataset.product, dataset.major, dataset.name)):
            places[dataset.schema, dataset.name] = Head(row.id, row.revision, dataset)
    looked: dict[str, datetime | None] = {}
    for dataset in catalog.datasets():  # what is read comes before what reads it
        head = places.get((dataset.schema, dataset.name))
        if head is None:
            continue
        known = facts[dataset.product, dataset.major, dataset.name]
        own = known.looked_at
        if is_derived(dataset):
            current = current_revisions(dataset, places)
            if known.refreshed is not None and revisions_read(known.refreshed) == current:
                reads = [places[key].dataset.address for key in reads_of(dataset) if key in places]
                times = [looked.get(address) for address in reads]
                own = min((time for time in times if time is not None), default=own)
        looked[dataset.address] = own
    return looked


def evaluate_freshness(
    catalog: Catalog, dataset: Dataset, looked_at: datetime | None, newest: datetime | None, now: datetime
) -> dict[str, object]:
    """Whether the dataset keeps its contract's latency: `fresh` is null where nothing is promised.

    Where the contract names an element, its newest moment says how old the dataset is; else the last load that ended
    well does, whether it changed anything or not. Where the contract says up to when records are expected, a dataset
    that is whole until then is never late again.
    """
    latency, end = promised_latency(catalog, dataset), catalog.product_of(dataset).sla.end_of_data
    since = newest or looked_at
    until = now if end is None else min(now, end)
    late = None if latency is None or since is None else max((until - since - latency).total_seconds(), 0.0)
    return {
        "current_at": looked_at,
        "newest": newest,
        "latency_seconds": latency.total_seconds() if latency is not None else None,
        "fresh": None if latency is None else late == 0.0,
        "late_seconds": late,
        "end_of_data": end if latency is not None else None,
    }


def promised_latency(catalog: Catalog, dataset: Dataset) -> timedelta | None:
    """The latency that the contract promises of the dataset; one that names an element is about its dataset only."""
    sla = catalog.product_of(dataset).sla
    if dataset.input is None or (sla.latency_element is not None and sla.latency_element[0] != dataset.name):
        return None
    return sla.latency


def current_revisions(dataset: Dataset, heads: Mapping[tuple[str, str], Head]) -> dict[str, int]:
    """The current revision of each dataset that a derived one reads, by the name that its query calls it."""
    revisions = {}
    for name in dataset.input.reads if dataset.input else ():
        if head := heads.get(find_read(dataset, name)):
            revisions[name] = head.revision
    return revisions


def revisions_read(load: Any) -> dict[str, int]:
    """What a load that has ended is known to have read, or was made for."""
    read: dict[str, int] = {}
    for facts in (load.cause, (load.landed or {}).get("position"), load.position):
        for name, revision in ((facts or {}).get("revisions") or {}).items():
            read[name] = max(revision, read.get(name, 0))
    return read
