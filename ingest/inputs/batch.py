"""What every input hands over, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from catalog.dataset import Dataset, Input, RawForm
from catalog.settings import Settings
from catalog.tables import CatalogTables
from ingest.errors import SourceError


@dataclass(frozen=True)
class RawPart:
    """One file, page or slice of a raw batch: its bytes as they came."""

    name: str  # what a person would call it: rejected records are found by it
    chunks: Iterator[bytes]
    size: int | None = None  # bytes, where known beforehand
    form: RawForm | None = None  # how it is cut, where not as the input says


@dataclass(frozen=True)
class RawBatch:
    """One read of an input: its parts in order, read once, and where the input stands behind them."""

    source: str  # what a person would call it: a file's name, an address, a query
    parts: Iterator[RawPart]
    size: int | None = None  # bytes, where known beforehand
    # Asked when all parts have been read: only then an API's cursor or ETag is known.
    position: Callable[[], dict[str, Any] | None] = lambda: None
    may_be_empty: bool = False  # an incremental input without news is no empty file
    more: bool = False  # whether another batch waits behind this one


@dataclass(frozen=True)
class InputPlace:
    """All that an input may look at."""

    dataset: Dataset
    settings: Settings
    tables: CatalogTables
    engine: sa.Engine
    load_id: int
    state: Mapping[str, Any] = field(default_factory=dict)  # the position that was published last
    request: Mapping[str, Any] = field(default_factory=dict)  # what was asked for beside the input
    cleaning_sha256: str = ""  # what will be made of the records: the same answer may be worth another look

    @property
    def source(self) -> Input:
        """The dataset's input; SourceError where it has none."""
        if self.dataset.input is None:
            raise SourceError(f"{self.dataset.address} has no input in its contract: there is nothing to ingest.")
        return self.dataset.input


def one_part(name: str, chunks: Iterator[bytes], size: int | None = None) -> Iterator[RawPart]:
    """The parts of a batch that comes in one piece."""
    yield RawPart(name, chunks, size)
