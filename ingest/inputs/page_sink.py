"""Takes what a reader cuts from the pages of an API, to count it and to find marks in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from catalog.model.dataset import keeps_blanks
from ingest.inputs.incremental import keeps_raw
from ingest.inputs.raw_batch import InputPlace
from ingest.inputs.raw_marks import BLANKS, MARKS_KEPT, RawMark, is_plain, judge_marks
from ingest.readers.record_writer import RecordSink

MARKS_AT_ONCE = 10_000


class PageSink(RecordSink):
    """Counts records as their reader cuts them, and remembers the greatest marks."""

    def __init__(self, out: Any, place: InputPlace, folder: Path) -> None:
        super().__init__(out, lambda row: None, place.source.form.delimiter, ())
        self.place = place
        self.folder = folder
        incremental = place.source.incremental
        plain = incremental is not None and is_plain(place.dataset, incremental.property)
        self.column = place.dataset.properties[incremental.property].raw_columns[0] if incremental and plain else None
        self.keeps_blanks = incremental is not None and keeps_blanks(
            place.dataset, place.dataset.properties[incremental.property]
        )
        self.keeps = keeps_raw(place.dataset, place.source)
        self.nulls = 0  # records without a mark
        self.pending: set[str] = set()
        self.greatest: list[tuple[RawMark, Any]] = []

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
            place = self.header.index(self.column)
            self.take(line.split(self.separator)[place].decode("utf-8", "replace") for line in lines)

    def take(self, texts: Iterable[str | None]) -> None:
        """Takes the marks of some records."""
        nulls = self.place.source.null_values
        for text in texts:
            # As the cleaning reads it.
            if text is not None and not self.keeps_blanks:
                text = text.strip(BLANKS)
            if text is None or text in nulls:
                self.nulls += 1
            elif self.keeps:
                self.pending.add(text)
        if len(self.pending) > MARKS_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Keeps the greatest of the marks that have been taken."""
        incremental = self.place.source.incremental
        if incremental is None or not self.pending:
            return
        marks = [(text, text) for text in sorted(self.pending, reverse=True)]
        self.pending.clear()
        found = judge_marks(
            marks, self.place.dataset, incremental.property, self.place.settings, self.folder, plain=True
        )
        self.greatest += found
        # Of one moment in several forms, the least text is asked from.
        self.greatest.sort(key=lambda pair: pair[0].raw)
        self.greatest.sort(key=lambda pair: pair[1], reverse=True)
        del self.greatest[MARKS_KEPT:]

    def marks(self) -> list[RawMark]:
        """The greatest marks of all pages, the greatest first."""
        self.settle()
        return [mark for mark, _ in self.greatest]

    def describe_nulls(self) -> list[str]:
        """What the owner should know: records that are not found again by their mark."""
        if not self.nulls:
            return []
        return [
            f"{self.nulls:,} records have no {self.column}, which news are asked for by: the API will not send them"
            " again when they change"
        ]


def write_json(value: Any) -> str | None:
    """A value of JSON as text; None where it is no text and no number."""
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@contextmanager
def open_page_sink(place: InputPlace, folder: Path) -> Iterator[PageSink]:
    """A sink that writes nowhere."""
    with open(os.devnull, "wb") as out:
        yield PageSink(out, place, folder)
