"""How raw bytes become raw records: a reader for each format, behind `cut_batch` and `pick_raw`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from catalog.model.dataset import RawForm
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers.delimited import DelimitedReader
from ingest.readers.excel import WorkbookReader
from ingest.readers.json_document import DocumentReader
from ingest.readers.json_lines import NdjsonReader
from ingest.readers.parquet import ParquetReader
from ingest.readers.record_writer import CutBatch, CutPart, RecordSink, open_sink
from ingest.readers.replayed_rejects import FORMAT as REJECTS
from ingest.readers.replayed_rejects import RejectsReader


class Reader(Protocol):
    """Reads parts of one format; `line` counts from 1 within a part."""

    def cut(self, part: LandedPart, sink: RecordSink) -> None:
        """Hands the part's records to the sink, and what is none as malformed."""

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines, by a second pass of the same cut."""


READERS: dict[str, Callable[[RawForm, UnpackLimit, Path], Reader]] = {
    "csv": DelimitedReader,
    "ndjson": NdjsonReader,
    "json": DocumentReader,
    "parquet": ParquetReader,
    "xlsx": WorkbookReader,
    REJECTS: RejectsReader,
}


def make_reader(form: RawForm, limit: UnpackLimit, folder: Path) -> Reader:
    """The reader of a form; `limit` is what a part may unpack to, `folder` is for its own files."""
    return READERS[form.format](form, limit, folder)


def cut_batch(
    batch: LandedBatch,
    form: RawForm,
    needed: Iterable[str],
    folder: Path,
    limit: UnpackLimit,
    advance: Callable[[int], None],
) -> CutBatch:
    """The batch's records and its malformed ones, in files in `folder`."""
    with open_sink(folder, form.delimiter, needed, advance) as sink:
        for part in batch.parts:
            try:
                make_reader(part.form or form, limit, folder).cut(part, sink)
            except SourceError as error:
                # Of many files, the one that is meant is named.
                if part.name and part.name not in str(error):
                    raise type(error)(f"{part.name}: {error}") from error
                raise
    return CutBatch(
        records=folder / "records.csv",
        malformed=folder / "malformed.csv",
        # Nothing at all, and no header either: the gates will say that the batch is empty.
        header=sink.header or tuple(needed),
        is_json=sink.is_json,
        raw=sink.raw,
        malformed_count=sink.malformed_count,
        parts=tuple(sink.parts),
        notes=tuple(sink.notes),
    )


def pick_raw(
    batch: LandedBatch,
    form: RawForm,
    cut: Iterable[CutPart],
    limit: UnpackLimit,
    lines: Iterable[int],
    folder: Path | None = None,
) -> Iterator[tuple[int, str]]:
    """(line, raw text) of the records at these ascending lines of the whole batch.

    Some formats are unpacked into files to be read again: in `folder`, or where the system keeps temporary ones.
    """
    landed = {part.name: part for part in batch.parts}
    spans = list(cut)
    wanted = iter(lines)
    line = next(wanted, None)
    for index, span in enumerate(spans):
        end = spans[index + 1].offset if index + 1 < len(spans) else None
        local = []
        while line is not None and (end is None or line <= end):
            local.append(line - span.offset)
            line = next(wanted, None)
        if local:
            part = landed[span.name]
            reader = make_reader(part.form or form, limit, folder or Path(tempfile.gettempdir()))
            for place, raw in reader.pick(part, local):
                yield span.offset + place, raw
