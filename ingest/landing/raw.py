"""Raw batches: the parts of an input's data, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from catalog.model.dataset import FileFormat
from ingest.ledger.landed_note import Position


@dataclass(frozen=True)
class RawPart:
    """One file, page or slice of a raw batch: its bytes as they came."""

    name: str  # what a person would call it: rejected records are found by it
    chunks: Iterator[bytes]
    size: int | None = None  # bytes, where known beforehand
    file_format: FileFormat | None = None  # how it is parsed, where not as the input says


@dataclass(frozen=True)
class RawBatch:
    """One read of an input: its parts in order, read once, and the input's position after them."""

    source: str  # what a person would call it: a file's name, an address, a query
    parts: Iterator[RawPart]
    size: int | None = None  # bytes, where known beforehand
    # Asked when all parts have been read: only then an API's cursor or ETag is known.
    position: Callable[[], Position | None] = lambda: None
    may_be_empty: bool = False  # an incremental input without news is no empty file
    more: bool = False  # whether another batch waits behind this one
    notes: Callable[[], list[str]] = list  # what the owner should know, asked when all parts have been read
