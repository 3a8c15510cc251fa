"""Where raw batches come from: each kind of input in a file of its own, behind `open_batch`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ingest.inputs.batch import InputPlace, RawBatch
from ingest.inputs.files import open_file_batch
from ingest.inputs.query import open_query_batch

OPENERS: dict[str, Callable[[InputPlace], AbstractContextManager[RawBatch]]] = {
    "file": open_file_batch,
    "query": open_query_batch,
}


def open_batch(place: InputPlace) -> AbstractContextManager[RawBatch]:
    """The raw batch that the dataset's input holds now; SourceError where it cannot be read."""
    return OPENERS[place.source.kind](place)
