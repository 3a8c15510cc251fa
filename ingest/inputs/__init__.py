"""Where raw batches come from: each kind of input in a file of its own, behind `open_batch`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ingest.inputs.bucket import find_new_objects, open_bucket_batch
from ingest.inputs.database.input import open_database_batch
from ingest.inputs.events import open_events_batch
from ingest.inputs.files import find_new_files, open_file_batch
from ingest.inputs.http.input import open_http_batch
from ingest.inputs.query import open_query_batch
from ingest.inputs.raw_batch import InputContext, RawBatch
from ingest.inputs.replication.input import open_replication_batch
from ingest.inputs.stream.input import open_stream_batch
from ingest.ledger.landed_note import Position


@dataclass(frozen=True)
class InputReader:
    """What reads one kind of input."""

    kind: str  # one of catalog.model.input_kinds
    open: Callable[[InputContext], AbstractContextManager[RawBatch]]
    # What a watched input would bring: the position that a load would reach now, None where nothing is new. Whether
    # a stream has anything new, its lag says.
    look: Callable[[InputContext], Position | None] | None = None


INPUT_READERS: list[InputReader] = [
    InputReader("file", open_file_batch, find_new_files),
    InputReader("bucket", open_bucket_batch, find_new_objects),
    InputReader("http", open_http_batch),
    InputReader("database", open_database_batch),
    InputReader("query", open_query_batch),
    InputReader("events", open_events_batch),
    InputReader("stream", open_stream_batch),
    InputReader("replication", open_replication_batch),
]


def find_reader(kind: str) -> InputReader:
    """The reader of a kind, which is one of them."""
    return next(reader for reader in INPUT_READERS if reader.kind == kind)


def open_batch(context: InputContext) -> AbstractContextManager[RawBatch]:
    """The raw batch that the dataset's input holds now; SourceError where it cannot be read."""
    return find_reader(context.source.kind).open(context)


def find_position(context: InputContext) -> Position | None:
    """The position that a load would reach now, found cheaply; None where nothing is new, or none can be looked at.

    A load that was withheld or failed leaves the position where it was: who polls remembers what was tried.
    """
    look = find_reader(context.source.kind).look
    return look(context) if look else None
