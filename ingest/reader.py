"""Our own reader of CSV: cuts a raw batch into raw records, counts them, and knows each one's line and raw text.

DuckDB reads what this writes: the same records, each with its line before it, every one well formed. A record that
is not becomes a malformed one, with its reason; what follows it is cut as if it had not been there.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import MissingColumnsError, SourceError
from ingest.landing import ByteStream

BLOCK_BYTES = 4 << 20
RECORD_LIMIT_BYTES = 1 << 20  # a longer record is rejected
LINE_LIMIT_BYTES = 64 << 20  # a longer line is no line: the load fails
QUOTE = b'"'
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class RawRecord:
    """One raw record: `fields` is None where it is malformed, and `problem` says why."""

    line: int
    raw: bytes
    fields: list[bytes] | None
    problem: str | None = None


@dataclass(frozen=True)
class CutBatch:
    """A raw batch, cut: where the records lie, what the header says, how many there are."""

    records: Path  # CSV without header: line, then the raw columns
    malformed: Path  # CSV without header: line, key, raw text, reasons, candidate
    header: tuple[str, ...]
    raw: int
    malformed_count: int


class CsvReader:
    """Cuts one stream of CSV into records."""

    def __init__(self, stream: ByteStream, delimiter: str = ",", encoding: str = "utf-8") -> None:
        self.stream = stream
        self.delimiter = delimiter.encode()
        self.encoding = encoding
        self.header: tuple[str, ...] = ()
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
            return RawRecord(line, raw[:1000], None, f"is longer than {RECORD_LIMIT_BYTES:,} bytes")
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


def cut(stream: ByteStream, delimiter: str, encoding: str, folder: Path, advance: Callable[[int], None]) -> CutBatch:
    """Writes the stream's records and its malformed ones to files in `folder`; memory stays flat."""
    reader = CsvReader(stream, delimiter, encoding)
    separator = reader.delimiter
    raw = malformed_count = 0
    records, malformed = folder / "records.csv", folder / "malformed.csv"
    with records.open("wb") as out, malformed.open("w", newline="", encoding="utf-8") as bad:
        # With this line end, a lone carriage return in a raw text is quoted too.
        rejects = csv.writer(bad, lineterminator="\r\n")
        for first, lines, parsed in reader.blocks():
            if parsed is None:
                out.writelines([b"%d%b%b\n" % (line, separator, text) for line, text in enumerate(lines, first)])
                raw += len(lines)
            for record in parsed or ():
                raw += 1
                if record.fields is not None:
                    out.write(separator.join([b"%d" % record.line, *map(quote_field, record.fields)]) + b"\n")
                else:
                    malformed_count += 1
                    rejects.writerow(malformed_row(record, encoding))
            advance(len(lines))
    return CutBatch(records, malformed, reader.header, raw, malformed_count)


def quote_field(field: bytes) -> bytes:
    """The field in quotes, so that nothing in it can be taken for structure."""
    return b'"' + field.replace(b'"', b'""') + b'"'


def malformed_row(record: RawRecord, encoding: str) -> list[object]:
    """What quarantine keeps of a malformed record: line, key, raw text, reasons, candidate."""
    reason = {"property": None, "rule": "malformed", "value": None, "message": f"the record {record.problem}"}
    return [record.line, None, show_raw(record.raw, encoding), json.dumps([reason]), None]


def show_raw(raw: bytes, encoding: str) -> str:
    """Raw bytes as text that Postgres can keep."""
    return raw.decode(encoding, "replace").replace("\0", "\ufffd")


def pick_raw(stream: ByteStream, delimiter: str, encoding: str, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
    """(line, raw text) of the records at these ascending lines: a second pass of the same cut."""
    wanted = iter(lines)
    target = next(wanted, None)
    for first, content, parsed in CsvReader(stream, delimiter, encoding).blocks():
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


def require_columns(header: tuple[str, ...], needed: Iterable[str]) -> None:
    """MissingColumnsError, naming what is missing and what was found."""
    missing = [name for name in dict.fromkeys(needed) if name not in header]
    if missing:
        raise MissingColumnsError(
            f"The source lacks the columns {', '.join(missing)}; it has {', '.join(header) or 'none'}."
        )
    doubled = [name for name in dict.fromkeys(needed) if header.count(name) > 1]
    if doubled:
        raise MissingColumnsError(f"The source has the columns {', '.join(doubled)} more than once.")
