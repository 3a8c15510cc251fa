"""Watched inputs: detects which have new data."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.model.dataset import Dataset
from catalog.storage.installation_tables import WatchedInput
from catalog.storage.ledger_tables import DatasetHead
from ingest.errors import IngestError
from ingest.inputs import find_position
from ingest.inputs.raw_batch import InputContext
from ingest.ledger.failures import is_outage
from ingest.loading.loader import Loader
from ingest.worker.input_progress import read_progress
from ingest.worker.watch_streams import has_new_messages
from runtime.logs import log

LOGGER = logging.getLogger("decant.worker")
TAKEN_AT_ONCE = 8
LEASE_SECONDS = 12.0  # renewed between looks; one that takes longer may be repeated by another worker
PAUSE_SHARE = 0.9  # of the pause between two looks: a worker that comes back after it finds its inputs due

DatasetKey = tuple[str, int, str]  # product, major, dataset


def find_new_data(loader: Loader) -> list[Dataset]:
    """The datasets whose watched input has something that was neither loaded nor, as it is, held back by a load."""
    return [dataset for dataset in watched_datasets(loader) if has_new_data(loader, dataset)]


def find_due_inputs(loader: Loader, pause_seconds: float, *, streams: bool = False) -> list[Dataset]:
    """As `find_new_data`, for the inputs that are due: each is looked at by one worker, once in a pause.

    Either the streams, or all others.
    """
    watched = {
        (dataset.product, dataset.major, dataset.name): dataset
        for dataset in watched_datasets(loader)
        if is_streamed(dataset) == streams
    }
    known = note_watched(loader.engine, watched) if watched else {}
    new_data = []
    while known and (taken := take_due(loader.engine, list(known))):
        began = leased_at = time.monotonic()
        for number in taken:
            if time.monotonic() - leased_at > LEASE_SECONDS / 3:
                leased_at = time.monotonic()
                set_due(loader.engine, taken, LEASE_SECONDS)
            if has_new_data(loader, known[number]):
                new_data.append(known[number])
        set_due(loader.engine, taken, pause_seconds * PAUSE_SHARE - (time.monotonic() - began))
    return new_data


def watched_datasets(loader: Loader) -> list[Dataset]:
    """The datasets that somebody should look after."""
    return [
        dataset
        for dataset in loader.catalog.datasets()
        if dataset.input is not None
        and dataset.input.watch
        and loader.catalog.product_of(dataset).status != "retired"
    ]


def is_streamed(dataset: Dataset) -> bool:
    """Whether a stream feeds the dataset."""
    return dataset.input is not None and dataset.input.fed.streamed


def note_watched(engine: sa.Engine, watched: Mapping[DatasetKey, Dataset]) -> dict[int, Dataset]:
    """The datasets by their numbers; new ones are due at once."""
    heads = sa.select(DatasetHead.id, DatasetHead.product, DatasetHead.major, DatasetHead.dataset)
    with engine.begin() as connection:
        rows = connection.execute(heads).all()
        known = {row[0]: watched[row[1], row[2], row[3]] for row in rows if row[1:] in watched}
        new = sa.select(sa.func.unnest(as_array(list(known))))
        connection.execute(insert(WatchedInput).from_select(["dataset_id"], new).on_conflict_do_nothing())
    return known


def take_due(engine: sa.Engine, numbers: list[int]) -> list[int]:
    """Some of the datasets whose inputs are due: they are this worker's until they are set due again.

    Few at a time, so that several workers share them; those of a lost worker are due again when its lease ends.
    """
    due = (
        sa.select(WatchedInput.dataset_id)
        .where(WatchedInput.dataset_id == sa.any_(as_array(numbers)), WatchedInput.due_at <= sa.func.now())
        .order_by(WatchedInput.due_at)
        .limit(TAKEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with engine.begin() as connection:
        taken = list(connection.scalars(due))
        lease = sa.update(WatchedInput).where(WatchedInput.dataset_id.in_(taken))
        if taken:
            connection.execute(lease.values(due_at=sa.func.now() + timedelta(seconds=LEASE_SECONDS)))
    return taken


def as_array(numbers: list[int]) -> sa.ColumnElement[list[int]]:
    """The numbers as one parameter."""
    return sa.literal(numbers, sa.ARRAY(sa.BigInteger))


def set_due(engine: sa.Engine, numbers: list[int], seconds: float) -> None:
    """The inputs are due again in some seconds."""
    due = sa.update(WatchedInput).where(WatchedInput.dataset_id.in_(numbers))
    with engine.begin() as connection:
        connection.execute(due.values(due_at=sa.func.now() + timedelta(seconds=max(seconds, 0.0))))


def has_new_data(loader: Loader, dataset: Dataset) -> bool:
    """Whether the input has changed since the last load."""
    progress = read_progress(loader.engine, dataset)
    context = InputContext(dataset, loader.settings, loader.tables, loader.engine, 0, progress.state)
    try:
        if is_streamed(dataset):
            return has_new_messages(loader, dataset, progress)
        position = find_position(context)
    except IngestError as error:
        # A load would say why, again and again: a source that is not there has no news.
        log(LOGGER, "input_not_seen", logging.DEBUG, dataset=dataset.address, error_code=error.code)
        return False
    except Exception as error:
        if is_outage(error):
            raise
        # The other inputs are looked at all the same.
        log(LOGGER, "input_not_seen", logging.WARNING, dataset=dataset.address, error=type(error).__name__)
        return False
    return position is not None and json.loads(json.dumps(position)) not in progress.tried
