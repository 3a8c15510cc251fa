"""GET /metrics, with gauges read from the ledger."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from api.database.published_heads import DatasetKey
from api.observability.metrics import FOLDER_VARIABLE

LEDGER = """
SELECT d.product, d.major, d.dataset, d.revision, d.record_count,
  (SELECT count(*) FROM decant.rejected_records AS r WHERE r.dataset_id = d.id AND r.state = 'open'),
  lag.records, extract(epoch FROM now() - lag.caught_up_at)::float8
FROM decant.datasets AS d LEFT JOIN decant.stream_lags AS lag ON lag.dataset_id = d.id
ORDER BY d.product, d.major, d.dataset
"""

LOADS = "SELECT status, count(*) FROM decant.loads GROUP BY status ORDER BY status"
LABELS = ("product", "major", "dataset")


def render_metrics(
    datasets: list[object], loads: list[object], fresh: Mapping[DatasetKey, Mapping[str, object]]
) -> bytes:
    """Everything, as Prometheus reads it; the ledger's rows come from LEDGER and LOADS."""
    folder = os.environ.get(FOLDER_VARIABLE)
    registry = CollectorRegistry()
    if folder:
        drop_dead(Path(folder))
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    counted = generate_latest(registry if folder else REGISTRY)
    ledger = CollectorRegistry()
    ledger.register(Ledger(datasets, loads, fresh))
    return counted + generate_latest(ledger)


class Ledger:
    """The ledger's figures."""

    def __init__(self, datasets: list[Any], loads: list[Any], fresh: Mapping[DatasetKey, Mapping[str, Any]]) -> None:
        self.datasets = datasets
        self.loads = loads
        self.fresh = fresh

    def collect(self) -> list[GaugeMetricFamily]:
        """A gauge for each figure."""
        revision = gauge("decant_dataset_revision", "The current revision.")
        records = gauge("decant_dataset_records", "Records of the current revision.")
        current = gauge(
            "decant_dataset_current_timestamp_seconds", "Time up to which the dataset is known to be current."
        )
        limit = gauge("decant_dataset_freshness_limit_seconds", "Maximum age that the contract allows.")
        kept = gauge("decant_dataset_fresh", "Whether the dataset meets this limit: 1 or 0.")
        rejected = gauge("decant_rejected_records", "Rejected records that are open.")
        waiting = gauge(
            "decant_stream_lag_records", "Messages of the stream that waited when they were counted last."
        )
        behind = gauge("decant_stream_lag_seconds", "Time since every message of the stream had been read.")
        for product, major, dataset, *figures in self.datasets:
            key = [product, str(major), dataset]
            revision.add_metric(key, figures[0])
            records.add_metric(key, figures[1])
            fresh = self.fresh.get((product, major, dataset), {})
            since = fresh.get("newest") or fresh.get("current_at")
            if since is not None:
                current.add_metric(key, since.timestamp())
            if fresh.get("fresh") is not None:
                limit.add_metric(key, fresh["latency_seconds"])
                kept.add_metric(key, float(fresh["fresh"]))
            rejected.add_metric(key, figures[2])
            for metric, figure in ((waiting, figures[3]), (behind, figures[4])):
                if figure is not None:
                    metric.add_metric(key, figure)
        loads = GaugeMetricFamily("decant_loads", "Loads in the ledger.", labels=["status"])
        for status, number in self.loads:
            loads.add_metric([status], number)
        return [revision, records, current, limit, kept, rejected, waiting, behind, loads]


def gauge(name: str, description: str) -> GaugeMetricFamily:
    """A figure of each dataset."""
    return GaugeMetricFamily(name, description, labels=LABELS)


def drop_dead(folder: Path) -> None:
    """Removes what processes that have ended last said of themselves; what they counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                with suppress(FileNotFoundError):
                    file.unlink()
            except PermissionError:
                continue
