"""Raw batches in the landing zone without some of their records; every other record keeps its line."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.model.dataset import FileFormat
from ingest.inputs.raw_batch import RawPart
from ingest.landing.landed_batch import LandedPart
from ingest.landing.landing_zone import land_part
from ingest.landing.unpacking import ByteStream, UnpackLimit, open_landed
from ingest.readers import make_reader
from ingest.readers.replayed_rejects import FORMAT as REJECTS
from ingest.readers.text_encoding import open_text

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RedactionSpace:
    """Where redacted parts are landed, what may be unpacked there, and where drafts lie meanwhile."""

    folder: Path
    limit: UnpackLimit
    drafts: Path


def redact_part(
    part: LandedPart, file_format: FileFormat, dropped: Set[int], lines: list[int], space: RedactionSpace
) -> LandedPart:
    """The part without the records at the lines in `dropped`, landed under its new digest; `lines` are all it has.

    What is a document becomes NDJSON, since its records can be left out there without moving the others.
    """
    own, limit, drafts = part.file_format or file_format, space.limit, space.drafts
    if own.format == "csv":
        with open_text(part, limit, own, always=False) as text:
            own = replace(own, encoding=text.encoding)
            line_end = text.line_end.decode()
        blank = span_lines(part, file_format, dropped, limit, drafts, line_end)
        chunks = blank_text(part, part.file_format or file_format, blank, limit)
    elif own.format in {"ndjson", REJECTS}:
        chunks = blank_text(part, own, dropped, limit)
        own = replace(own, encoding="utf-8")
    else:
        chunks = write_ndjson(part, own, [line for line in lines if line not in dropped], limit, drafts)
        own = FileFormat(format="ndjson")
    redacted = RawPart(part.name, chunks, file_format=own)
    return land_part(redacted, space.folder, limit.size, lambda amount: None, drafts)


def span_lines(
    part: LandedPart, file_format: FileFormat, dropped: Set[int], limit: UnpackLimit, drafts: Path, line_end: str
) -> set[int]:
    """The lines that these records stand on, all of them: a text in quotes may hold line breaks."""
    found = set(dropped)
    for line, raw in make_reader(part.file_format or file_format, limit, drafts).pick(part, sorted(dropped)):
        found.update(range(line, line + raw.count(line_end) + 1))
    return found


def blank_text(part: LandedPart, file_format: FileFormat, blank: Set[int], limit: UnpackLimit) -> Iterator[bytes]:
    """The part's text, with nothing on these lines."""
    always = file_format.format == "ndjson"
    if file_format.format == REJECTS:
        with open_landed(part, limit) as packed:
            yield from blank_lines(packed, blank, b"\n")
        return
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


def write_ndjson(
    part: LandedPart, file_format: FileFormat, lines: list[int], limit: UnpackLimit, drafts: Path
) -> Iterator[bytes]:
    """The records at these lines as NDJSON, each on the line that it has."""
    last = 0
    for line, raw in make_reader(file_format, limit, drafts).pick(part, lines):
        yield b"\n" * (line - last - 1) + raw.replace("\n", " ").replace("\r", " ").encode() + b"\n"
        last = line
