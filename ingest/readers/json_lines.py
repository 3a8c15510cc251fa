"""NDJSON: one JSON object in each line. A line that is none is rejected alone, with its line and its raw text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers.json_batches import JsonBatcher, show_text
from ingest.readers.record_writer import RecordWriter
from ingest.readers.redaction import RedactedPart, redact_text
from ingest.readers.text_encoding import OpenText, open_text

BLOCK_BYTES = 4 << 20
LINE_LIMIT_BYTES = 64 << 20  # a longer line is no line: the load fails


class NdjsonReader:
    """Reads parts of NDJSON."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Path) -> None:
        self.file_format = file_format
        self.limit = limit

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's records to the record writer."""
        if self.file_format.columns:
            record_writer.open_table(part.name, self.file_format.columns)  # rows of a table: their columns are known
        else:
            record_writer.open_part(part.name, None)
        batcher = JsonBatcher(record_writer)
        with open_text(part, self.limit, self.file_format, always=True) as text:
            for first, lines in split_lines(text):
                if first == 1:
                    note_document(part.name, lines, record_writer)
                batcher.take(first, lines)

    def redact(self, part: LandedPart, dropped: Set[int], kept: list[int]) -> RedactedPart:
        """The same text, with blank lines for the records that go."""
        return redact_text(part, self.file_format, dropped, self.limit)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines."""
        wanted = iter(lines)
        target = next(wanted, None)
        with open_text(part, self.limit, self.file_format, always=True) as text:
            for first, content in split_lines(text):
                while target is not None and target < first + len(content):
                    yield target, show_text(content[target - first])
                    target = next(wanted, None)
                if target is None:
                    return


def note_document(source: str, lines: list[bytes], record_writer: RecordWriter) -> None:
    """Warns where a file begins like one JSON document over many lines, not like NDJSON."""
    first = next((line.strip() for line in lines if line.strip()), b"")
    if first in {b"[", b"{"}:
        record_writer.note(
            f"{source} looks like one JSON document of several lines: then its format is json, not ndjson"
        )


def split_lines(text: OpenText) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first line, lines) block by block, memory flat."""
    line = 1
    carry = b""
    ended = False
    while not ended:
        chunk = text.stream.read(BLOCK_BYTES)
        ended = not chunk
        block = carry + chunk
        end = len(block) if ended else block.rfind(text.line_end) + 1
        body, carry = block[:end], block[end:]
        if len(carry) > LINE_LIMIT_BYTES:
            raise SourceError(
                f"A line after line {line:,} is longer than {LINE_LIMIT_BYTES:,} bytes: is this NDJSON?"
            )
        lines = body.split(text.line_end)
        if not lines[-1]:
            lines.pop()
        if lines:
            yield line, lines
            line += len(lines)
