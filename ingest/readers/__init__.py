"""How raw bytes become raw records: a reader for each format, behind `parse_batch` and `pick_raw`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers.delimited import DelimitedReader
from ingest.readers.envelopes import make_cloudevents_reader, make_debezium_reader
from ingest.readers.excel import WorkbookReader
from ingest.readers.json_document import DocumentReader
from ingest.readers.json_lines import NdjsonReader
from ingest.readers.parquet import ParquetReader
from ingest.readers.record_writer import ParsedBatch, ParsedPart, RecordWriter, open_record_writer
from ingest.readers.redaction import RedactedPart
from ingest.readers.replayed_rejects import FORMAT as REJECTS
from ingest.readers.replayed_rejects import RejectsReader


class Reader(Protocol):
    """Reads parts of one format; `line` counts from 1 within a part."""

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's records to the record writer, and anything else as malformed."""

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines, by a second pass of the same parser."""

    def redact(self, part: LandedPart, dropped: Set[int], kept: list[int]) -> RedactedPart:
        """The part without the records at the lines in `dropped`; `kept` are those of the others in a document."""


READERS: dict[str, Callable[[FileFormat, UnpackLimit, Path], Reader]] = {
    "csv": DelimitedReader,
    "ndjson": NdjsonReader,
    "debezium": make_debezium_reader,
    "cloudevents": make_cloudevents_reader,
    "json": DocumentReader,
    "parquet": ParquetReader,
    "xlsx": WorkbookReader,
    REJECTS: RejectsReader,
}


def make_reader(file_format: FileFormat, limit: UnpackLimit, folder: Path) -> Reader:
    """The reader of a form; `limit` is what a part may unpack to, `folder` is for its own files."""
    return READERS[file_format.format](file_format, limit, folder)


def parse_batch(
    batch: LandedBatch,
    file_format: FileFormat,
    needed: Iterable[str],
    folder: Path,
    limit: UnpackLimit,
    advance: Callable[[int], None],
    *,
    sliced: bool = False,
) -> ParsedBatch:
    """The batch's records and its malformed ones, in files in `folder`; `sliced` for a cluster to judge."""
    with open_record_writer(folder, file_format.delimiter, needed, advance, sliced=sliced) as record_writer:
        for part in batch.parts:
            with name_part(part):
                make_reader(part.file_format or file_format, limit, folder).parse(part, record_writer)
    return ParsedBatch(
        records=tuple(record_writer.out.paths),
        malformed=folder / "malformed.csv",
        # Nothing at all, and no header either: the gates will say that the batch is empty.
        header=record_writer.header or tuple(needed),
        is_json=record_writer.is_json,
        raw=record_writer.raw,
        malformed_count=record_writer.malformed_count,
        parts=tuple(record_writer.parts),
        notes=tuple(record_writer.notes),
        sliced=sliced,
    )


@contextmanager
def name_part(part: LandedPart) -> Iterator[None]:
    """Of many files, names the one that an error means."""
    try:
        yield
    except SourceError as error:
        if part.name and part.name not in str(error):
            raise type(error)(f"{part.name}: {error}") from error
        raise


def pick_raw(
    batch: LandedBatch,
    file_format: FileFormat,
    parsed: Iterable[ParsedPart],
    limit: UnpackLimit,
    lines: Iterable[int],
    folder: Path | None = None,
) -> Iterator[tuple[int, str]]:
    """(line, raw text) of the records at these ascending lines of the whole batch.

    Some formats are unpacked into files to be read again: in `folder`, or where the system keeps temporary ones.
    """
    landed = {part.name: part for part in batch.parts}
    spans = list(parsed)
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
            reader = make_reader(part.file_format or file_format, limit, folder or Path(tempfile.gettempdir()))
            for place, raw in reader.pick(part, local):
                yield span.offset + place, raw
