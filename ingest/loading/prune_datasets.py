"""Pruning datasets: records that are too old go by a load of their own, the rest beside it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from catalog.model.dataset import Dataset
from catalog.model.load_request import Prune
from ingest.errors import IngestError
from ingest.loading.loader import Loader
from ingest.retention.prune import Pruned, Pruner


def prune_datasets(loader: Loader, datasets: Iterable[Dataset], now: datetime | None = None) -> list[Pruned]:
    """What went of each of the datasets whose product says how long it keeps."""

    def withdraw(dataset: Dataset, request: Prune) -> int:
        report = loader.run(dataset, request=request)
        if report.outcome is None:
            raise IngestError(report.error)
        return report.outcome.deleted

    now = now or datetime.now(UTC)
    return Pruner(loader.settings, loader.engine, loader.catalog, loader.tables, withdraw, now).prune(datasets)
