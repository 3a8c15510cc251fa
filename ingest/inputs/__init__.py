"""Where raw batches come from: each kind of input in a file of its own, behind `open_batch`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ingest.inputs.bucket import find_bucket_news, open_bucket_batch
from ingest.inputs.database import open_database_batch
from ingest.inputs.events import open_events_batch
from ingest.inputs.files import find_file_news, open_file_batch
from ingest.inputs.http import open_http_batch
from ingest.inputs.query import open_query_batch
from ingest.inputs.raw_batch import InputPlace, RawBatch

OPENERS: dict[str, Callable[[InputPlace], AbstractContextManager[RawBatch]]] = {
    "file": open_file_batch,
    "bucket": open_bucket_batch,
    "http": open_http_batch,
    "database": open_database_batch,
    "query": open_query_batch,
    "events": open_events_batch,
}

# What a watched input would bring: the position that a load would reach now, None where nothing is new.
LOOKERS: dict[str, Callable[[InputPlace], dict[str, Any] | None]] = {
    "file": find_file_news,
    "bucket": find_bucket_news,
}


def open_batch(place: InputPlace) -> AbstractContextManager[RawBatch]:
    """The raw batch that the dataset's input holds now; SourceError where it cannot be read."""
    return OPENERS[place.source.kind](place)


def find_position(place: InputPlace) -> dict[str, Any] | None:
    """The position that a load would reach now, found cheaply; None where nothing is new, or none can be looked at.

    A load that was withheld or failed leaves the position where it was: who polls remembers what was tried.
    """
    look = LOOKERS.get(place.source.kind)
    return look(place) if look else None
