"""NDJSON: one JSON object in each line. A line that is none is rejected alone, with its line and its raw text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import NamedTuple

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import ByteStream, UnpackLimit
from ingest.readers.json_batches import JsonBatcher, show_text
from ingest.readers.record_writer import RecordWriter
from ingest.readers.redaction import RedactedPart, redact_text
from ingest.readers.text_encoding import OpenText, open_text

BLOCK_BYTES = 4 << 20
LINE_LIMIT_BYTES = 64 << 20  # a longer line is no line: the load fails


class LineRange(NamedTuple):
    """Some lines of a part, in UTF-8."""

    first: int  # the number of the first one
    end: bytes  # what ends each line


class NdjsonReader:
    """Reads parts of NDJSON."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Path) -> None:
        self.file_format = file_format
        self.limit = limit

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's records to the record writer."""
        with open_text(part, self.limit, self.file_format, always=True) as text:
            self.parse_lines(part.name, split_lines(text), record_writer)

    def cut(self, part: LandedPart) -> Iterator[tuple[LineRange, bytes]]:
        """The part's lines, some at a time, to be parsed elsewhere: each of them ends as the range says."""
        with open_text(part, self.limit, self.file_format, always=True) as text:
            for first, lines in split_lines(text):
                yield LineRange(first, text.line_end), text.line_end.join([*lines, b""])

    def parse_range(self, name: str, lines: LineRange, stream: ByteStream, record_writer: RecordWriter) -> None:
        """Passes the records of some lines of a part to the record writer."""
        text = OpenText(stream, "utf-8", "utf-8", lines.end)
        self.parse_lines(name, split_lines(text, lines.first), record_writer)

    def parse_lines(self, name: str, blocks: Iterable[tuple[int, list[bytes]]], record_writer: RecordWriter) -> None:
        """Passes the records of some lines of a part to the record writer: (number of the first line, lines)."""
        if self.file_format.columns:
            record_writer.open_table(name, self.file_format.columns)  # rows of a table: their columns are known
        else:
            record_writer.open_part(name, None)
        batcher = JsonBatcher(record_writer)
        for first, lines in blocks:
            if first == 1:
                note_document(name, lines, record_writer)
            self.take(first, lines, batcher, record_writer)

    def take(self, first: int, lines: list[bytes], batcher: JsonBatcher, record_writer: RecordWriter) -> None:
        """Hands over these lines, the first at line `first`."""
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


def split_lines(text: OpenText, line: int = 1) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first line, lines) block by block, memory flat; the text begins with line `line`."""
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
