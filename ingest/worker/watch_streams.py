"""Streams: which have messages that wait, and how many."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from catalog.model.dataset import Dataset
from ingest.cleaning.plan import digest_cleaning
from ingest.errors import IngestError
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.replication import source as replication_source
from ingest.inputs.replication.lag import measure_changes
from ingest.inputs.stream import clients
from ingest.inputs.stream.lag import Lag, measure_lag, write_error, write_lag
from ingest.inputs.stream.messages import StreamGapError
from ingest.ledger.queue import hasten_loads
from ingest.loading.loader import Loader
from ingest.worker.input_progress import InputProgress, read_progress
from runtime.plain_text import plain


def has_new_messages(loader: Loader, dataset: Dataset, progress: InputProgress) -> bool:
    """Whether a load should read the stream now; the lag is kept. IngestError where the broker does not answer.

    What was withheld waits for its owner: more messages behind it change nothing, other rules may.
    """
    try:
        lag = measure(loader, dataset, progress)
    except StreamGapError:
        return True  # a load says what is wrong
    if progress.withheld_rules is not None and progress.withheld_rules == digest_cleaning(dataset):
        return False
    return lag.records > 0 or lag.is_broken or lag.is_due


def measure(loader: Loader, dataset: Dataset, progress: InputProgress) -> Lag:
    """The stream's lag, asked of its broker and kept."""
    context = InputContext(dataset, loader.settings, loader.tables, loader.engine, 0, progress.state)
    try:
        lag = measure_changes(context) if context.source.kind == "replication" else measure_lag(context)
    except IngestError as error:
        if progress.dataset_id is not None:
            with loader.engine.begin() as connection:
                write_error(connection, progress.dataset_id, dataset.name, plain(str(error)))
        raise
    if progress.dataset_id is not None:
        with loader.engine.begin() as connection:
            if write_lag(connection, progress.dataset_id, lag):  # the source answers again
                hasten_loads(connection, progress.dataset_id)
    return lag


def note_lags(loader: Loader, datasets: Iterable[Dataset]) -> None:
    """Measures the lag of every stream among the datasets, or notes why it cannot be measured."""
    for dataset in datasets:
        if dataset.input is None or not dataset.input.fed.streamed:
            continue
        with suppress(IngestError):
            measure(loader, dataset, read_progress(loader.engine, dataset))


def close_connections() -> None:
    """Closes what is kept open between two looks."""
    clients.KEPT.close()
    replication_source.KEPT.close()
