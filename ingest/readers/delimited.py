"""Our own reader of CSV and its kin: cuts a stream into raw records, each with its line and raw text.

A record that is not well formed becomes a malformed one, with its reason; what follows it is cut as if it had not
been there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.dataset import RawForm
from ingest.errors import SourceError
from ingest.landing import ByteStream, LandedPart
from ingest.readers.sink import MALFORMED_SHOWN_BYTES, RECORD_LIMIT_BYTES, RecordSink, show_raw
from ingest.readers.text import BOM, open_text

BLOCK_BYTES = 4 << 20
LINE_LIMIT_BYTES = 64 << 20  # a longer line is no line: the load fails
QUOTE = b'"'


@dataclass(frozen=True)
class RawRecord:
    """One raw record: `fields` is None where it is malformed, and `problem` says why."""

    line: int
    raw: bytes
    fields: list[bytes] | None
    problem: str | None = None


class DelimitedReader:
    """Reads parts of CSV, or of its kin with other delimiters."""

    def __init__(self, form: RawForm, limit: int, folder: Path) -> None:
        self.form = form
        self.limit = limit  # bytes, unpacked

    def cut(self, part: LandedPart, sink: RecordSink) -> None:
        """Hands the part's records to the sink."""
        with open_text(part, self.limit, self.form, always=False) as (stream, encoding):
            cutter = CsvCutter(stream, replace(self.form, encoding=encoding))
            opened = False
            for first, lines, parsed in cutter.blocks():
                if not opened:
                    sink.open_part(part.name, cutter.header)
                    opened = True
                if parsed is None and cutter.delimiter == sink.separator:
                    sink.add_plain(first, lines)
                elif parsed is None:
                    for line, text in enumerate(lines, first):
                        sink.add(line, text.split(cutter.delimiter))
                for record in parsed or ():
                    if record.fields is not None:
                        sink.add(record.line, record.fields)
                    else:
                        sink.add_malformed(record.line, show_raw(record.raw, encoding), record.problem or "")
                sink.advance(len(lines))
            if not opened and cutter.header:
                sink.open_part(part.name, cutter.header)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines: a second pass of the same cut."""
        with open_text(part, self.limit, self.form, always=False) as (stream, encoding):
            wanted = iter(lines)
            target = next(wanted, None)
            for first, content, parsed in CsvCutter(stream, replace(self.form, encoding=encoding)).blocks():
                if target is None:
                    return
                if parsed is None:
                    while target is not None and target < first + len(content):
                        yield target, show_raw(content[target - first], encoding)
                        target = next(wanted, None)
                for record in parsed or ():
                    if record.line == target:
                        yield record.line, show_raw(record.raw, encoding)
                        target = next(wanted, None)


class CsvCutter:
    """Cuts one stream of CSV into records."""

    def __init__(self, stream: ByteStream, form: RawForm) -> None:
        self.stream = stream
        self.delimiter = form.delimiter.encode()
        self.encoding = form.encoding
        self.header: tuple[str, ...] = form.columns or ()
        escaped = re.escape(self.delimiter)
        self.field = re.compile(rb'(?:"((?:[^"]|"")*)"|([^"' + escaped + rb"\n]*))(" + escaped + rb"|$)", re.DOTALL)

    def blocks(self) -> Iterator[tuple[int, list[bytes], list[RawRecord] | None]]:
        """(first line, lines, records): records is None where each line is one, with nothing to look at inside."""
        line = 1
        carry = b""
        ended = False
        while not ended:
            chunk = self.stream.read(BLOCK_BYTES)
            ended = not chunk
            block = carry + chunk
            if line == 1 and block.startswith(BOM):
                block = block[len(BOM) :]
            end = len(block) if ended else block.rfind(b"\n") + 1
            if not end and not ended:
                if len(block) > LINE_LIMIT_BYTES:
                    raise SourceError(f"Line {line} is longer than {LINE_LIMIT_BYTES:,} bytes: is this CSV?")
                carry = block
                continue
            body, carry = block[:end], block[end:]
            if not body:
                continue
            lines = body.split(b"\n")
            if body.endswith(b"\n"):
                lines.pop()
            if not self.header:
                line, lines = self.take_header(line, lines)
            if self.is_plain(body, lines):
                yield line, lines, None
                line += len(lines)
                continue
            records, used = self.parse_lines(line, lines, ended)
            yield line, lines[:used], records
            line += used
            carry = b"\n".join([*lines[used:], carry]) if used < len(lines) else carry

    def take_header(self, line: int, lines: list[bytes]) -> tuple[int, list[bytes]]:
        """Reads the first line as the header; the number of the next line, and the lines left."""
        fields = self.split(lines[0].removesuffix(b"\r"))
        try:
            names = [field.decode(self.encoding).strip() for field in fields or []]
        except UnicodeDecodeError:
            names = []
        if not any(names):
            raise SourceError("The first line is not a header: names of columns are expected there.")
        self.header = tuple(names)
        return line + 1, lines[1:]

    def is_plain(self, body: bytes, lines: list[bytes]) -> bool:
        """Whether cutting at each newline and delimiter provably gives the records."""
        if QUOTE in body or b"\0" in body or b"\r" in body or self.encoding != "utf-8":
            return False
        try:
            body.decode()
        except UnicodeDecodeError:
            return False
        delimiter, wanted = self.delimiter, len(self.header) - 1
        if wanted == 0 or max(map(len, lines), default=0) > RECORD_LIMIT_BYTES:
            return False
        return all(line.count(delimiter) == wanted for line in lines)

    def parse_lines(self, first: int, lines: list[bytes], ended: bool) -> tuple[list[RawRecord], int]:
        """The records of these lines, and how many lines they used: a record that may go on is left for later."""
        records: list[RawRecord] = []
        index = 0
        while index < len(lines):
            taken = self.span_of(lines, index, ended)
            if taken is None:
                # The quote may close in what has not been read yet.
                break
            raw = b"\n".join(lines[index : index + taken]).removesuffix(b"\r")
            if raw or len(self.header) == 1:
                records.append(self.parse(first + index, raw))
            index += taken
        return records, index

    def span_of(self, lines: list[bytes], index: int, ended: bool) -> int | None:
        """How many lines the record at `index` spans; None where that cannot be known yet.

        A quote that never closes well ends at the end of its own line: what follows is not swallowed.
        """
        if lines[index].count(QUOTE) % 2 == 0:
            return 1
        size = len(lines[index])
        quotes = lines[index].count(QUOTE)
        for end in range(index + 1, len(lines)):
            size += len(lines[end]) + 1
            if size > RECORD_LIMIT_BYTES:
                return 1
            quotes += lines[end].count(QUOTE)
            if quotes % 2 == 0:
                fields = self.split(b"\n".join(lines[index : end + 1]).removesuffix(b"\r"))
                return end - index + 1 if fields is not None and len(fields) == len(self.header) else 1
        return 1 if ended else None

    def parse(self, line: int, raw: bytes) -> RawRecord:
        """One record, or a malformed one that says what is wrong."""
        if b"\0" in raw:
            return RawRecord(line, raw, None, "holds a NUL character")
        if len(raw) > RECORD_LIMIT_BYTES:
            return RawRecord(line, raw[:MALFORMED_SHOWN_BYTES], None, f"is longer than {RECORD_LIMIT_BYTES:,} bytes")
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            return RawRecord(line, raw, None, f"is not {self.encoding} (byte {error.start + 1})")
        fields = self.split(raw if self.encoding == "utf-8" else text.encode())
        if fields is None:
            return RawRecord(line, raw, None, "has broken or unclosed quotes")
        if len(fields) != len(self.header):
            return RawRecord(line, raw, None, f"has {len(fields)} columns where the header has {len(self.header)}")
        return RawRecord(line, raw, fields)

    def split(self, raw: bytes) -> list[bytes] | None:
        """The fields of one record by RFC 4180, or None where its quotes are broken."""
        if QUOTE not in raw:
            return raw.split(self.delimiter)
        fields: list[bytes] = []
        position = 0
        while True:
            match = self.field.match(raw, position)
            if match is None:
                return None
            quoted, bare, separator = match.groups()
            fields.append(quoted.replace(b'""', b'"') if quoted is not None else bare)
            position = match.end()
            if not separator:
                return fields if position == len(raw) else None
