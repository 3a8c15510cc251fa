"""What an export format is: written from front to back while the records come, or as a file that is kept first.

A new one is a file beside this one, and a line of `FORMATS` in `api/exports/formats/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from api.http.negotiation import MediaType
from catalog.model.dataset import Property


class Batches(Protocol):
    """The records of an export, as Arrow batches."""

    @property
    def schema(self) -> pa.Schema:
        """That of every batch."""

    def next_batch(self) -> pa.RecordBatch | None:
        """The next batch; None at the end."""


class Writer(Protocol):
    """Turns batches into bytes."""

    def begin(self) -> bytes:
        """The bytes before the first record."""

    def write(self, batch: pa.RecordBatch) -> bytes | memoryview:
        """A batch."""

    def end(self) -> bytes:
        """The bytes after the last record."""


@dataclass(frozen=True)
class SizeModel:
    """How many bytes a file has, measured: for estimates."""

    factor: float = 1.0  # for each byte of its values as text
    empty: int = 0  # without records
    of_property: int = 0
    of_description: float = 0.0  # for each byte of a property's description


@dataclass(frozen=True)
class ExportFormat(MediaType):
    """What both ways have in common."""

    text: bool = False
    lines: bool = False  # Postgres writes each record as one line of text; otherwise a column for each property
    lists: bool = True  # whether a cell can hold a list; otherwise arrays are JSON texts
    size: SizeModel = SizeModel()


@dataclass(frozen=True, kw_only=True)
class StreamedFormat(ExportFormat):
    """Written from front to back, in a content coding where one is asked for."""

    make_writer: Callable[[Sequence[Property], pa.Schema], Writer]


@dataclass(frozen=True, kw_only=True)
class FiledFormat(ExportFormat):
    """A file first: it is read in ranges, or cannot be written from front to back."""

    coded: bool = False
    write_file: Callable[[Path, Batches, Sequence[Property]], None]
