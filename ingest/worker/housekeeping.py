"""Hourly housekeeping of a worker: deletes what is past its retention."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from catalog.storage.export_files import delete_old_exports
from ingest.cleaning.engines.slices import delete_old_slices
from ingest.delivery.outcomes import tidy_deliveries
from ingest.landing.landing_zone import LandingZone
from ingest.ledger.outbox import prune_outbox
from ingest.loading.loader import Loader
from ingest.loading.prune_datasets import prune_datasets
from ingest.notifying.record import tidy_incidents
from runtime.logs import log

LOGGER = logging.getLogger("decant.worker")


def run_housekeeping(loader: Loader) -> None:
    """Prunes every dataset and the outbox; a dataset that is being loaded has its turn in an hour.

    Safe to run by several at once.
    """
    for dataset in loader.catalog.datasets():
        for gone in prune_datasets(loader, [dataset]):
            if gone.error is not None:
                log(LOGGER, "prune_failed", logging.WARNING, dataset=gone.dataset, error=gone.error)
            if gone.history or gone.records or gone.rejected or gone.batches:
                counts = {"history": gone.history, "records": gone.records, "rejected": gone.rejected}
                log(LOGGER, "dataset_pruned", dataset=gone.dataset, **counts, batches=gone.batches)
    if orphans := LandingZone.of(loader.settings).remove_orphans(loader.engine, datetime.now(UTC)):
        log(LOGGER, "landing_zone_tidied", batches=orphans)
    delete_old_exports(loader.settings, datetime.now(UTC))
    delete_old_slices(loader.settings, datetime.now(UTC))
    tidy_deliveries(loader.engine, datetime.now(UTC))
    tidy_incidents(loader.engine, datetime.now(UTC))
    if events := prune_outbox(loader.engine, datetime.now(UTC)):
        log(LOGGER, "outbox_pruned", events=events)
