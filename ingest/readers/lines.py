"""NDJSON: one JSON object in each line. A line that is none is rejected alone, with its line and its raw text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from catalog.dataset import RawForm
from ingest.errors import SourceError
from ingest.landing import ByteStream, LandedPart
from ingest.readers.json_hand import JsonHand, show_text
from ingest.readers.sink import RecordSink
from ingest.readers.text import BOM, open_text

BLOCK_BYTES = 4 << 20
LINE_LIMIT_BYTES = 64 << 20  # a longer line is no line: the load fails


class NdjsonReader:
    """Reads parts of NDJSON."""

    def __init__(self, form: RawForm, limit: int, folder: Path) -> None:
        self.form = form
        self.limit = limit  # bytes, unpacked

    def cut(self, part: LandedPart, sink: RecordSink) -> None:
        """Hands the part's records to the sink."""
        sink.open_part(part.name, None)
        hand = JsonHand(sink)
        with open_text(part, self.limit, self.form, always=True) as (stream, _):
            for first, lines in split_lines(stream):
                hand.take(first, lines)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines."""
        wanted = iter(lines)
        target = next(wanted, None)
        with open_text(part, self.limit, self.form, always=True) as (stream, _):
            for first, content in split_lines(stream):
                while target is not None and target < first + len(content):
                    yield target, show_text(content[target - first])
                    target = next(wanted, None)
                if target is None:
                    return


def split_lines(stream: ByteStream) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first line, lines) block by block, memory flat."""
    line = 1
    carry = b""
    ended = False
    while not ended:
        chunk = stream.read(BLOCK_BYTES)
        ended = not chunk
        block = carry + chunk
        if line == 1 and block.startswith(BOM):
            block = block[len(BOM) :]
        end = len(block) if ended else block.rfind(b"\n") + 1
        body, carry = block[:end], block[end:]
        if len(carry) > LINE_LIMIT_BYTES:
            raise SourceError(
                f"A line after line {line:,} is longer than {LINE_LIMIT_BYTES:,} bytes: is this NDJSON?"
            )
        lines = body.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if lines:
            yield line, lines
            line += len(lines)
