"""Where raw batches come from: each kind of input in a file of its own, behind `open_batch`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from catalog.dataset import Dataset
from catalog.tables import CatalogTables
from ingest.errors import SourceError
from ingest.inputs.batch import RawBatch
from ingest.inputs.files import open_file_batch
from ingest.inputs.query import open_query_batch


@contextmanager
def open_batch(dataset: Dataset, tables: CatalogTables, engine: sa.Engine) -> Iterator[RawBatch]:
    """The raw batch that the dataset's input holds now; SourceError where it cannot be read."""
    if dataset.input is None:
        raise SourceError(f"{dataset.address} has no input in its contract: there is nothing to ingest.")
    if dataset.input.kind == "query":
        with open_query_batch(dataset, tables, engine) as batch:
            yield batch
    else:
        with open_file_batch(dataset.input) as batch:
            yield batch
