"""Record writer for API pages: counts parsed records and collects their watermarks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from catalog.model.dataset import keeps_blanks
from ingest.inputs.incremental import keeps_raw
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.raw_marks import BLANKS, WATERMARKS_KEPT, RawWatermark, filter_watermarks, is_plain
from ingest.readers.record_writer import RecordWriter

WATERMARKS_AT_ONCE = 10_000


class PageRecordWriter(RecordWriter):
    """Counts records as they are parsed, and keeps the highest watermarks."""

    def __init__(self, out: Any, context: InputContext, folder: Path) -> None:
        super().__init__(out, lambda row: None, context.source.file_format.delimiter, ())
        self.context = context
        self.folder = folder
        incremental = context.source.incremental
        plain = incremental is not None and is_plain(context.dataset, incremental.property)
        self.column = (
            context.dataset.properties[incremental.property].raw_columns[0] if incremental and plain else None
        )
        self.keeps_blanks = incremental is not None and keeps_blanks(
            context.dataset, context.dataset.properties[incremental.property]
        )
        self.keeps = keeps_raw(context.dataset, context.source)
        self.nulls = 0  # records without a mark
        self.pending: set[str] = set()
        self.greatest: list[tuple[RawWatermark, Any]] = []

    @property
    def wanted(self) -> bool:
        """Whether more than the number of records is looked for."""
        return self.column is not None

    def add_json(self, first: int, records: Sequence[bytes]) -> None:
        """Takes records that are JSON objects."""
        super().add_json(first, records)
        if self.column is not None:
            self.take(write_json(orjson.loads(record).get(self.column)) for record in records)

    def add(self, line: int, fields: list[bytes]) -> None:
        """Takes one record: its fields."""
        super().add(line, fields)
        columns = self.parts[-1].columns
        if self.column is not None and columns and self.column in columns:
            self.take([fields[columns.index(self.column)].decode("utf-8", "replace")])

    def add_plain(self, first: int, lines: list[bytes]) -> None:
        """Takes whole lines, each of which is one record."""
        super().add_plain(first, lines)
        if self.order is None and self.column is not None and self.column in self.header:
            index = self.header.index(self.column)
            self.take(line.split(self.separator)[index].decode("utf-8", "replace") for line in lines)

    def take(self, texts: Iterable[str | None]) -> None:
        """Takes the marks of some records."""
        nulls = self.context.source.null_values
        for text in texts:
            # As the cleaning reads it.
            if text is not None and not self.keeps_blanks:
                text = text.strip(BLANKS)
            if text is None or text in nulls:
                self.nulls += 1
            elif self.keeps:
                self.pending.add(text)
        if len(self.pending) > WATERMARKS_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Keeps the greatest of the marks that have been taken."""
        incremental = self.context.source.incremental
        if incremental is None or not self.pending:
            return
        watermarks = [(text, text) for text in sorted(self.pending, reverse=True)]
        self.pending.clear()
        found = filter_watermarks(
            watermarks, self.context.dataset, incremental.property, self.context.settings, self.folder, plain=True
        )
        self.greatest += found
        # Of one moment in several forms, the least text is asked from.
        self.greatest.sort(key=lambda pair: pair[0].raw)
        self.greatest.sort(key=lambda pair: pair[1], reverse=True)
        del self.greatest[WATERMARKS_KEPT:]

    def watermarks(self) -> list[RawWatermark]:
        """The greatest marks of all pages, the greatest first."""
        self.settle()
        return [watermark for watermark, _ in self.greatest]

    def describe_nulls(self) -> list[str]:
        """What the owner should know: records that are not found again by their mark."""
        if not self.nulls:
            return []
        return [
            f"{self.nulls:,} records have no {self.column}, by which changes are requested: the API"
            f" will not return them again when they change"
        ]


def write_json(value: object) -> str | None:
    """A value of JSON as text; None where it is no text and no number."""
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@contextmanager
def open_page_record_writer(context: InputContext, folder: Path) -> Iterator[PageRecordWriter]:
    """A record writer whose output is discarded."""
    with open(os.devnull, "wb") as out:
        yield PageRecordWriter(out, context, folder)
