"""What a worker does once an hour beside its loads: it forgets what the contracts no longer keep."""

from __future__ import annotations

import logging
from typing import Any

from catalog.model.dataset import Dataset
from ingest.loading.load_report import count_deleted
from ingest.loading.loader import Loader
from ingest.retention.prune import prune
from runtime.logs import log

LOGGER = logging.getLogger("decant.worker")


def tidy_up(loader: Loader) -> None:
    """Prunes every dataset; one that is being loaded has its turn in an hour. Safe to run by several at once."""

    def withdraw(dataset: Dataset, request: dict[str, Any]) -> int:
        return count_deleted(loader.run(dataset, request=request))

    for dataset in loader.catalog.datasets():
        for gone in prune(loader.engine, loader.settings, loader.catalog, loader.tables, [dataset], withdraw):
            if gone.error is not None:
                log(LOGGER, "prune_failed", logging.WARNING, dataset=gone.dataset, error=gone.error)
            if gone.history or gone.records or gone.rejected or gone.batches:
                counts = {"history": gone.history, "records": gone.records, "rejected": gone.rejected}
                log(LOGGER, "dataset_pruned", dataset=gone.dataset, **counts, batches=gone.batches)
