"""A part of a raw batch without some of its records: as the same text with blank lines, or as NDJSON.

Every other record keeps its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from typing import NamedTuple

from catalog.model.dataset import FileFormat
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import ByteStream, UnpackLimit
from ingest.readers.text_encoding import open_text

BLOCK_BYTES = 1 << 20


class RedactedPart(NamedTuple):
    """What is left of a part: its format, and its bytes."""

    file_format: FileFormat
    chunks: Iterator[bytes]


def redact_text(part: LandedPart, file_format: FileFormat, dropped: Set[int], limit: UnpackLimit) -> RedactedPart:
    """A text in which a record is one line: these lines are blank, and the text is in UTF-8."""
    return RedactedPart(
        replace(file_format, encoding="utf-8"), blank_text(part, file_format, dropped, limit, always=True)
    )


def redact_document(records: Iterable[tuple[int, str]]) -> RedactedPart:
    """A document as NDJSON: the records that stay, as (line, JSON)."""
    return RedactedPart(FileFormat(format="ndjson"), write_ndjson(records))


def blank_text(
    part: LandedPart, file_format: FileFormat, blank: Set[int], limit: UnpackLimit, *, always: bool
) -> Iterator[bytes]:
    """The part's text, with nothing on these lines; in UTF-8 `always`, or where its own encoding is wide."""
    with open_text(part, limit, file_format, always=always) as text:
        yield from blank_lines(text.stream, blank, text.line_end)


def blank_lines(stream: ByteStream, blank: Set[int], line_end: bytes) -> Iterator[bytes]:
    """A stream's bytes, with nothing on these lines."""
    number, carry, ended = 1, b"", False
    while not ended:
        chunk = stream.read(BLOCK_BYTES)
        ended = not chunk
        *whole, carry = (carry + chunk).split(line_end)
        lines = [b"" if number + index in blank else line for index, line in enumerate(whole)]
        number += len(whole)
        if lines:
            yield line_end.join(lines) + line_end
    if carry and number not in blank:
        yield carry


def write_ndjson(records: Iterable[tuple[int, str]]) -> Iterator[bytes]:
    """Records as NDJSON, each on the line that it has."""
    last = 0
    for line, raw in records:
        yield b"\n" * (line - last - 1) + raw.replace("\n", " ").replace("\r", " ").encode() + b"\n"
        last = line
