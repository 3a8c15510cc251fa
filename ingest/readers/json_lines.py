"""NDJSON: one JSON object in each line. A line that is none is rejected alone, with its line and its raw text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from catalog.model.dataset import RawForm
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers.json_batches import JsonHand, show_text
from ingest.readers.record_writer import RecordSink
from ingest.readers.text_encoding import OpenText, open_text

BLOCK_BYTES = 4 << 20
LINE_LIMIT_BYTES = 64 << 20  # a longer line is no line: the load fails


class NdjsonReader:
    """Reads parts of NDJSON."""

    def __init__(self, form: RawForm, limit: UnpackLimit, folder: Path) -> None:
        self.form = form
        self.limit = limit

    def cut(self, part: LandedPart, sink: RecordSink) -> None:
        """Hands the part's records to the sink."""
        if self.form.columns:
            sink.open_table(part.name, self.form.columns)  # rows of a table: their columns are known
        else:
            sink.open_part(part.name, None)
        hand = JsonHand(sink)
        with open_text(part, self.limit, self.form, always=True) as text:
            for first, lines in split_lines(text):
                if first == 1:
                    note_document(part.name, lines, sink)
                hand.take(first, lines)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines."""
        wanted = iter(lines)
        target = next(wanted, None)
        with open_text(part, self.limit, self.form, always=True) as text:
            for first, content in split_lines(text):
                while target is not None and target < first + len(content):
                    yield target, show_text(content[target - first])
                    target = next(wanted, None)
                if target is None:
                    return


def note_document(source: str, lines: list[bytes], sink: RecordSink) -> None:
    """Tells where a file begins as no NDJSON does, but a document over many lines."""
    first = next((line.strip() for line in lines if line.strip()), b"")
    if first in {b"[", b"{"}:
        sink.note(f"{source} begins like one JSON document over many lines: then its format is json, not ndjson")


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
