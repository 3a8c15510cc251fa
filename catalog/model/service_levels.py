"""What a contract promises about time: schedules, freshness, keeping, the end. Frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Schedule:
    """When datasets are loaded: a cron expression of five fields, in UTC."""

    cron: str
    dataset: str | None = None  # None: every dataset that has a source of its own


@dataclass(frozen=True)
class Sla:
    """The service levels of a product that Decant acts on."""

    schedules: tuple[Schedule, ...] = ()
    latency: timedelta | None = None  # how old the newest record may be
    latency_element: tuple[str, str] | None = None  # the dataset and property whose moments say how old
    retention: timedelta | None = None  # how long history, quarantine and raw batches are kept
    # Dataset -> property: records of append datasets are pruned too once this moment is older than `retention`.
    retention_elements: Mapping[str, str] = field(default_factory=dict)
    end_of_data: datetime | None = None  # no record after it is expected
    end_of_support: datetime | None = None
    end_of_life: datetime | None = None
