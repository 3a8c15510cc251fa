"""Streams: which have messages that wait, and how many."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from ingest.cleaning.plan import digest_cleaning
from ingest.errors import IngestError
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.stream.lag import Lag, measure_lag, write_lag
from ingest.loading.loader import Loader
from ingest.worker.input_progress import InputProgress, read_progress


def has_new_messages(loader: Loader, dataset: Dataset, progress: InputProgress) -> bool:
    """Whether a load should read the stream now; the lag is kept. IngestError where the broker does not answer.

    What was withheld waits for its owner: more messages behind it change nothing, other rules may.
    """
    lag = measure(loader, dataset, progress)
    if progress.withheld_rules is not None and progress.withheld_rules == digest_cleaning(dataset):
        return False
    return lag.records > 0 or lag.is_broken


def measure(loader: Loader, dataset: Dataset, progress: InputProgress) -> Lag:
    """The stream's lag, asked of its broker and kept."""
    lag = measure_lag(InputContext(dataset, loader.settings, loader.tables, loader.engine, 0, progress.state))
    if progress.dataset_id is not None:
        with loader.engine.begin() as connection:
            write_lag(connection, progress.dataset_id, lag)
    return lag


def note_lags(loader: Loader, datasets: Iterable[Dataset]) -> dict[str, str]:
    """Measures the lag of every stream among the datasets; those whose broker does not answer, with the reason."""
    silent: dict[str, str] = {}
    for dataset in datasets:
        if dataset.input is None or not dataset.input.fed.streamed:
            continue
        try:
            measure(loader, dataset, read_progress(loader.engine, dataset))
        except (IngestError, sa.exc.SQLAlchemyError) as error:
            silent[dataset.address] = str(error) if isinstance(error, IngestError) else type(error).__name__
    return silent
