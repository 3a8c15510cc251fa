"""Schedules: the last and the next tick of a contract's cron expressions. Pure; times are UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from croniter import croniter  # type: ignore[import-untyped]

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset


def last_tick(cron: str, now: datetime) -> datetime:
    """The latest time at or before `now` that the expression names."""
    if croniter.match(cron, now.replace(second=0, microsecond=0)):
        return now.replace(second=0, microsecond=0)
    return previous_tick(cron, now)


def previous_tick(cron: str, now: datetime) -> datetime:
    """The latest time before `now` that the expression names."""
    tick: datetime = croniter(cron, now).get_prev(datetime)
    return tick.astimezone(UTC)


def next_tick(cron: str, now: datetime) -> datetime:
    """The first time after `now` that the expression names."""
    tick: datetime = croniter(cron, now).get_next(datetime)
    return tick.astimezone(UTC)


def scheduled_datasets(catalog: Catalog) -> Iterator[tuple[Dataset, str]]:
    """Every dataset that a schedule loads, in loading order, with the schedule's cron expression.

    A schedule that names no dataset is for those that have a source of their own to be read.
    """
    for dataset in catalog.datasets():
        product = catalog.product_of(dataset)
        if product.status == "retired" or dataset.input is None:
            continue
        for schedule in product.sla.schedules:
            if schedule.dataset == dataset.name or (schedule.dataset is None and dataset.input.fed.scheduled):
                yield dataset, schedule.cron


def next_load(catalog: Catalog, dataset: Dataset, now: datetime) -> datetime | None:
    """When a schedule loads the dataset next; None where none does."""
    ticks = [next_tick(cron, now) for other, cron in scheduled_datasets(catalog) if other == dataset]
    return min(ticks, default=None)
