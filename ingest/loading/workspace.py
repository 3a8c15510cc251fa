"""Where a load keeps what it needs while it runs: a folder, and a staging table; both are its attempt's own.

A process that slept while another took its load up finds nothing of that one's under its own names when it wakes.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.high_water import RestoredDatabase, check_restored
from ingest.ledger.loads import Ticket, find_leftovers
from ingest.ledger.running_load import LOGGER
from ingest.publishing.staging import unstage
from runtime.logs import log
from runtime.settings.settings import Settings


def load_folder(settings: Settings, ticket: Ticket) -> Path:
    """The folder of one attempt."""
    return (settings.work_folder / f"load-{ticket.load_id}-{ticket.fencing_token}").resolve()


def sweep_leftovers(settings: Settings, engine: sa.Engine, dataset_id: int) -> None:
    """Removes what killed loads of a dataset left behind: nobody else is loading it now."""
    staged, loads = find_leftovers(engine, dataset_id)
    for name in staged:
        drop_staged(engine, name)
    for load_id in loads:
        for folder in settings.work_folder.glob(f"load-{load_id}-*"):
            shutil.rmtree(folder, ignore_errors=True)


def report_restored(
    settings: Settings, engine: sa.Engine, dataset: Dataset, by: str | None
) -> RestoredDatabase | None:
    """What is found where the database lacks a publication of the dataset that this host has seen."""
    with engine.begin() as connection:
        restored = check_restored(connection, settings, [dataset], by or "loader")
    if restored is not None:
        log(LOGGER, "database_restored", logging.WARNING, epoch=restored.epoch, reason=restored.reason)
    return restored


def drop_staged(engine: sa.Engine, name: str) -> None:
    """Drops a staging table; what cannot be tidied up now fails no load, and goes with the next one."""
    try:
        unstage(engine, name)
    except sa.exc.DBAPIError as error:
        log(LOGGER, "staging_left", logging.WARNING, table=name, error=type(error.orig).__name__)
