"""Which of the unfinished loads are due now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ingest.ledger.lease import LEASE_SECONDS
from ingest.ledger.retry_policy import LONGEST_DELAY_SECONDS, MAX_ATTEMPTS, MAX_LOST_ATTEMPTS


@dataclass(frozen=True)
class Unfinished:
    """A load of the ledger that has not ended."""

    id: int
    dataset_id: int
    status: str  # "queued" or "running"
    attempt: int
    started_at: datetime  # of a queued load: when it was queued, or its last attempt began
    retry_at: datetime | None
    lease_until: datetime | None


def is_held(load: Unfinished, silent: Mapping[int, float], now: datetime) -> bool:
    """Whether somebody awake runs this load; `silent` are the seconds of silence of each held dataset's holder."""
    return (
        load.status == "running"
        and load.dataset_id in silent
        and load.lease_until is not None
        and load.lease_until > now
    )


def choose_due(
    unfinished: Iterable[Unfinished],
    needs: Mapping[int, Collection[int]],
    silent: Mapping[int, float],
    with_job: Collection[int],
    now: datetime,
) -> Iterator[Unfinished]:
    """The loads to make jobs for, oldest first, at most one for each dataset.

    A load waits for older ones of the datasets that its own needs, but for none that itself waits to be tried again.
    """
    loads = sorted(unfinished, key=lambda load: load.id)
    live = [load for load in loads if is_held(load, silent, now) or not waits(load, now)]
    busy = {load.dataset_id for load in loads if load.id in with_job or is_held(load, silent, now)}
    # Held, and not by a load: somebody is about to open one, or tidies up behind one.
    running = {load.dataset_id for load in loads if load.status == "running"}
    busy |= {dataset for dataset, seconds in silent.items() if dataset not in running and seconds < LEASE_SECONDS}
    for load in live:
        needed = needs.get(load.dataset_id, ())
        blocked = any(other.dataset_id in needed for other in live if other.id < load.id)
        if load.dataset_id in busy or blocked:
            continue
        busy.add(load.dataset_id)
        yield load


def waits(load: Unfinished, now: datetime) -> bool:
    """Whether it is too early for the load's next attempt."""
    if load.status == "queued":
        return load.retry_at is not None and load.retry_at > now
    # Its worker was lost. At first that is nobody's fault; then the load may be why.
    lost = load.attempt - MAX_ATTEMPTS
    if lost < 0:
        return False
    return load.started_at + timedelta(seconds=min(2.0**lost, LONGEST_DELAY_SECONDS)) > now


def is_lost_for_good(load: Unfinished, silent: Mapping[int, float], now: datetime) -> bool:
    """Whether so many workers were lost over this load that it must be the reason."""
    return load.status == "running" and load.attempt >= MAX_LOST_ATTEMPTS and not is_held(load, silent, now)
