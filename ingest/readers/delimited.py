"""Parser for CSV and other delimited text: yields raw records with their line and raw text.

A record that is not well formed becomes a malformed one, with its reason; what follows it is parsed as if it had not
been there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers.columns import name_headers
from ingest.readers.record_writer import MALFORMED_SHOWN_BYTES, RECORD_LIMIT_BYTES, RecordWriter, show_raw
from ingest.readers.redaction import RedactedPart, blank_text
from ingest.readers.text_encoding import OpenText, open_text

BLOCK_BYTES = 4 << 20
LINE_LIMIT_BYTES = 64 << 20  # a longer line is no line: the load fails
QUOTE = b'"'
SEPARATOR_LINE = re.compile(rb"sep=(.)", re.I)  # what Excel writes and reads before a header
HEADER_SHOWN_BYTES = 60


@dataclass(frozen=True)
class RawRecord:
    """One raw record: `fields` is None where it is malformed, and `problem` says why."""

    line: int
    raw: bytes
    fields: list[bytes] | None
    problem: str | None = None


class DelimitedReader:
    """Reads parts of CSV, or of its kin with other delimiters."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Path) -> None:
        self.file_format = file_format
        self.limit = limit

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's records to the record writer."""
        with open_text(part, self.limit, self.file_format, always=False) as text:
            parser = CsvParser(text, self.file_format)
            opened = False
            for first, lines, parsed in parser.blocks():
                if not opened:
                    record_writer.open_part(part.name, parser.header)
                    opened = True
                    self.note_header(part.name, lines, parser, record_writer)
                if parsed is None and parser.delimiter == record_writer.separator:
                    record_writer.add_plain(first, lines)
                elif parsed is None:
                    for line, content in enumerate(lines, first):
                        record_writer.add(line, content.split(parser.delimiter))
                for record in parsed or ():
                    if record.fields is not None:
                        record_writer.add(record.line, record.fields)
                    else:
                        record_writer.add_malformed(
                            record.line, show_raw(record.raw, text.encoding), record.problem or ""
                        )
                record_writer.advance(len(lines))
            if not opened and parser.header:
                record_writer.open_part(part.name, parser.header)
            if parser.blank_rows:
                record_writer.note(f"{part.name}: {parser.blank_rows:,} rows of delimiters alone are skipped")

    def note_header(self, source: str, lines: list[bytes], parser: CsvParser, record_writer: RecordWriter) -> None:
        """Warns where a file whose columns the contract names begins with these names all the same."""
        if self.file_format.columns is None or not lines:
            return
        first = [show_raw(field, parser.encoding).strip() for field in parser.split(lines[0].rstrip(b"\r")) or ()]
        if [name.casefold() for name in first] == [name.casefold() for name in self.file_format.columns]:
            record_writer.note(
                f"{source}: the first record looks like a header; `columns` is for files without a header"
            )

    def redact(self, part: LandedPart, dropped: Set[int], kept: list[int]) -> RedactedPart:
        """The same text, with blank lines for the records that go; line breaks in quotes are lines of a record."""
        with open_text(part, self.limit, self.file_format, always=False) as text:
            encoding, line_end = text.encoding, text.line_end.decode()
        blank = set(dropped)
        for line, raw in self.pick(part, sorted(dropped)):
            blank.update(range(line, line + raw.count(line_end) + 1))
        chunks = blank_text(part, self.file_format, blank, self.limit, always=False)
        return RedactedPart(replace(self.file_format, encoding=encoding), chunks)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines: a second pass of the same parser."""
        with open_text(part, self.limit, self.file_format, always=False) as text:
            wanted = iter(lines)
            target = next(wanted, None)
            for first, content, parsed in CsvParser(text, self.file_format).blocks():
                if target is None:
                    return
                if parsed is None:
                    while target is not None and target < first + len(content):
                        yield target, show_raw(content[target - first], text.encoding)
                        target = next(wanted, None)
                for record in parsed or ():
                    if record.line == target:
                        yield record.line, show_raw(record.raw, text.encoding)
                        target = next(wanted, None)


class CsvParser:
    """Parses one text of CSV into records; the header is a record like any other."""

    def __init__(self, text: OpenText, file_format: FileFormat) -> None:
        self.text = text
        self.stream = text.stream
        self.delimiter = file_format.delimiter.encode()
        self.encoding = text.encoding
        self.line_end = text.line_end
        self.quoted = file_format.quoted
        self.header: tuple[str, ...] = file_format.columns or ()
        self.blank_rows = 0
        escaped = re.escape(self.delimiter)
        self.field = re.compile(
            rb'(?:"((?:[^"]|"")*)"|([^"' + escaped + re.escape(self.line_end) + rb"]*))(" + escaped + rb"|$)",
            re.DOTALL,
        )

    def blocks(self) -> Iterator[tuple[int, list[bytes], list[RawRecord] | None]]:
        """(first line, lines, records): records is None where each line is one, with nothing to look at inside."""
        line = 1
        carry = b""
        ended = False
        while not ended:
            chunk = self.stream.read(BLOCK_BYTES)
            ended = not chunk
            block = carry + chunk
            end = len(block) if ended else block.rfind(self.line_end) + 1
            if not end and not ended:
                if len(block) > LINE_LIMIT_BYTES:
                    raise SourceError(f"Line {line} is longer than {LINE_LIMIT_BYTES:,} bytes: is this CSV?")
                carry = block
                continue
            body, carry = block[:end], block[end:]
            if not body:
                continue
            lines = body.split(self.line_end)
            if body.endswith(self.line_end):
                lines.pop()
            if not self.header:
                taken = self.take_header(lines, ended)
                if taken is None:
                    carry = block  # the header's quote may close in what has not been read yet
                    continue
                line, lines = line + taken, lines[taken:]
            if self.is_plain(body, lines):
                yield line, lines, None
                line += len(lines)
                continue
            records, used = self.parse_lines(line, lines, ended)
            yield line, lines[:used], records
            line += used
            carry = self.line_end.join([*lines[used:], carry]) if used < len(lines) else carry

    def take_header(self, lines: list[bytes], ended: bool) -> int | None:
        """Reads the first record as the header: how many lines it used; None where that cannot be known yet."""
        announced = SEPARATOR_LINE.fullmatch(lines[0].removesuffix(b"\r"))
        skipped = 1 if announced else 0
        if announced and announced[1] != self.delimiter:
            raise SourceError(
                f"The first line sets the delimiter {show_raw(announced[1])!r}; in the contract it is"
                f" {show_raw(self.delimiter)!r}."
            )
        if skipped == len(lines):
            return None if not ended else self.refuse_header(lines[0])
        taken = self.span_of(lines, skipped, ended)
        if taken is None:
            return None
        raw = self.line_end.join(lines[skipped : skipped + taken]).removesuffix(b"\r")
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise SourceError(f"The header {self.describe_undecodable(raw, error)}.") from None
        fields = self.split(text.encode())
        if not fields or not any(field.strip() for field in fields):
            return self.refuse_header(raw)
        self.header = name_headers(field.decode() for field in fields)
        return skipped + taken

    def refuse_header(self, raw: bytes) -> int:
        """SourceError: what should be the header is none."""
        found = repr(show_raw(raw[:HEADER_SHOWN_BYTES], self.encoding)) if raw.strip() else "nothing"
        raise SourceError(f"The first line is not a header of column names: it contains {found}.")

    def is_plain(self, body: bytes, lines: list[bytes]) -> bool:
        """Whether cutting at each newline and delimiter provably gives the records."""
        other_end = b"\r" if self.line_end == b"\n" else b"\n"
        if QUOTE in body or b"\0" in body or other_end in body or self.encoding != "utf-8":
            return False
        try:
            body.decode()
        except UnicodeDecodeError:
            return False
        delimiter, wanted = self.delimiter, len(self.header) - 1
        if wanted == 0 or max(map(len, lines), default=0) > RECORD_LIMIT_BYTES:
            return False
        return delimiter * wanted not in lines and all(line.count(delimiter) == wanted for line in lines)

    def parse_lines(self, first: int, lines: list[bytes], ended: bool) -> tuple[list[RawRecord], int]:
        """The records of these lines, and how many lines they used: a record that may go on is left for later."""
        records: list[RawRecord] = []
        blank = self.delimiter * (len(self.header) - 1)
        index = 0
        while index < len(lines):
            taken = self.span_of(lines, index, ended)
            if taken is None:
                # The quote may close in what has not been read yet.
                break
            raw = self.line_end.join(lines[index : index + taken]).removesuffix(b"\r")
            if raw and raw == blank:
                self.blank_rows += 1
            elif raw or len(self.header) == 1:
                records.append(self.parse(first + index, raw))
            index += taken
        return records, index

    def span_of(self, lines: list[bytes], index: int, ended: bool) -> int | None:
        """How many lines the record at `index` spans; None where that cannot be known yet.

        A quote that never closes well ends at the end of its own line: what follows is not swallowed.
        """
        if not self.quoted or lines[index].count(QUOTE) % 2 == 0:
            return 1
        size = len(lines[index])
        quotes = lines[index].count(QUOTE)
        for end in range(index + 1, len(lines)):
            size += len(lines[end]) + 1
            if size > RECORD_LIMIT_BYTES:
                return 1
            quotes += lines[end].count(QUOTE)
            if quotes % 2 == 0:
                fields = self.split(self.line_end.join(lines[index : end + 1]).removesuffix(b"\r"))
                whole = fields is not None and (not self.header or len(fields) == len(self.header))
                return end - index + 1 if whole else 1
        return 1 if ended else None

    def parse(self, line: int, raw: bytes) -> RawRecord:
        """One record, or a malformed one that says what is wrong."""
        if b"\0" in raw:
            return RawRecord(line, raw, None, "contains a NUL character")
        if len(raw) > RECORD_LIMIT_BYTES:
            return RawRecord(line, raw[:MALFORMED_SHOWN_BYTES], None, f"is longer than {RECORD_LIMIT_BYTES:,} bytes")
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            return RawRecord(line, raw, None, self.describe_undecodable(raw, error))
        fields = self.split(raw if self.encoding == "utf-8" else text.encode())
        if fields is None:
            return RawRecord(line, raw, None, "has broken or unclosed quotes")
        if len(fields) != len(self.header):
            return RawRecord(line, raw, None, f"has {len(fields)} columns where the header has {len(self.header)}")
        return RawRecord(line, raw, fields)

    def describe_undecodable(self, raw: bytes, error: UnicodeDecodeError) -> str:
        """What is wrong with bytes that are no text, by the source's own encoding."""
        if self.text.is_transcoded:
            return f"is not {self.text.written} (character {len(raw[: error.start].decode()) + 1})"
        return f"is not {self.encoding} (byte {error.start + 1})"

    def split(self, raw: bytes) -> list[bytes] | None:
        """The fields of one record by RFC 4180, or None where its quotes are broken."""
        if not self.quoted or QUOTE not in raw:
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
