"""Record writer: files of parsed records for DuckDB, one of malformed records for quarantine.

DuckDB reads the same parsed records, each with its line before it, every one well formed. Lines count on from
part to part, so that one number finds a record of the batch; `offsets` leads back to the part and its own line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ingest.readers.columns import number_duplicate_columns, require_columns
from runtime.plain_text import plain

JSON_COLUMN = "raw"  # what transforms call a record that is one JSON object
DELETED = "_deleted"  # the member of a raw record that marks it as deleting its key
SLICE_BYTES = 64 << 20  # of parsed records: what one task of a cluster judges
RECORD_LIMIT_BYTES = 1 << 20  # a longer record is rejected
MALFORMED_SHOWN_BYTES = 1000  # of one that is too long
MESSAGE_CHARACTERS = 1000  # of what is wrong with a record
UNKEPT = re.compile("[\x00\ud800-\udfff]")
KNOWN_KEYS_LIMIT = 1000  # keys of JSON records that are remembered, to report those that no property reads


@dataclass(frozen=True)
class ParsedPart:
    """Where one part of a batch begins among its lines, and its columns."""

    name: str
    offset: int
    columns: tuple[str, ...] | None  # None where the records are JSON objects


@dataclass(frozen=True)
class ParsedBatch:
    """A parsed batch: the files of its records, their columns and their number."""

    records: tuple[Path, ...]  # CSV without header: line, then the raw columns, or the one JSON object
    malformed: Path  # CSV without header: line, key, raw text, reasons, candidate, order value
    header: tuple[str, ...]  # the columns; for JSON the keys that were seen
    is_json: bool
    raw: int
    malformed_count: int
    parts: tuple[ParsedPart, ...]
    notes: tuple[str, ...] = ()  # what records do not show
    sliced: bool = False  # whether a cluster is to judge its files
    judged: tuple[tuple[Path, int], ...] = ()  # instead of `records`, where they are judged already; lines before


class RecordWriter:
    """Takes the records of one batch, part by part; memory stays flat."""

    def __init__(
        self, out: SlicedFile, rejects: Callable[[list[object]], object], delimiter: str, needed: Iterable[str]
    ) -> None:
        self.out = out
        self.rejects = rejects
        self.separator = delimiter.encode()
        self.needed = tuple(needed)
        self.advance: Callable[[int], None] = lambda amount: None
        self.header: tuple[str, ...] = ()
        self.is_json = False
        self.order: list[int | None] | None = None  # where this part's columns are not the first part's
        self.parts: list[ParsedPart] = []
        self.last = 0
        self.raw = 0
        self.malformed_count = 0
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Adds a note to the result of the load."""
        if text not in self.notes:
            self.notes.append(text)

    def open_part(self, name: str, columns: tuple[str, ...] | None) -> None:
        """Another part begins, with these columns; None where each record is one JSON object.

        MissingColumnsError where a column that the contract reads is missing or there twice.
        """
        if columns is None:
            self.is_json = True
            self.order = None
        else:
            require_columns(columns, self.needed, name)
            columns = number_duplicate_columns(columns)
            self.header = self.header or columns
            places = {column: index for index, column in enumerate(columns)}
            same = columns == self.header
            self.order = None if same else [places.get(column) for column in self.header]
        self.parts.append(ParsedPart(name, self.last, columns))

    @property
    def offset(self) -> int:
        """How many lines lie before the part that is open."""
        return self.parts[-1].offset

    def add_plain(self, first: int, lines: list[bytes]) -> None:
        """Takes whole lines, each of which is one record with nothing to look at inside."""
        separator = self.separator
        if self.order is not None:
            for line, text in enumerate(lines, first):
                self.add(line, text.split(separator))
            return
        start = self.offset + first
        self.out.writelines([b"%d%b%b\n" % (line, separator, text) for line, text in enumerate(lines, start)])
        self.raw += len(lines)
        self.last = start + len(lines) - 1

    def add(self, line: int, fields: list[bytes]) -> None:
        """Takes one record: its fields, or its one JSON object."""
        if self.order is not None:
            fields = [fields[index] if index is not None else b"" for index in self.order]
        self.raw += 1
        self.last = self.offset + line
        self.out.write(self.separator.join([b"%d" % self.last, *map(quote_field, fields)]) + b"\n")

    def add_json(self, first: int, records: Sequence[bytes]) -> None:
        """Takes records that are JSON objects, the first at line `first`, each on one line."""
        separator = self.separator
        start = self.offset + first
        quoted = b"\n".join(records).replace(b'"', b'""').split(b"\n")
        self.out.writelines([b'%d%b"%b"\n' % (line, separator, text) for line, text in enumerate(quoted, start)])
        self.raw += len(records)
        self.last = start + len(records) - 1

    def add_malformed(self, line: int, raw: str, problem: str) -> None:
        """Takes what is no record, as text that Postgres can keep, and what is wrong with it."""
        self.raw += 1
        self.malformed_count += 1
        self.last = self.offset + line
        message = plain(f"the record {problem}", MESSAGE_CHARACTERS)
        reason = {"property": None, "rule": "malformed", "value": None, "message": message}
        self.rejects([self.last, None, show_text(raw), json.dumps([reason]), None, None])

    def note_keys(self, keys: Iterable[str]) -> None:
        """Remembers keys of JSON records: what no property reads is reported to the owner."""
        self.header = tuple(dict.fromkeys([*self.header, *keys]))

    def open_table(self, name: str, columns: tuple[str, ...], shown: str | None = None) -> None:
        """Another part begins: JSON objects that all have these keys, which were a table's columns.

        MissingColumnsError as for columns; `shown` is what messages call the table, where not as the part.
        """
        require_columns(columns, [column for column in self.needed if column != JSON_COLUMN], shown or name)
        self.open_part(name, None)
        self.note_keys(number_duplicate_columns(columns))


class SlicedFile:
    """Writes records into one file after another; each holds whole records."""

    def __init__(self, folder: Path, *, sliced: bool) -> None:
        """Without `sliced` it is one file: DuckDB reads several at once, and takes memory for each."""
        self.folder = folder
        self.sliced = sliced
        self.paths: list[Path] = []
        self.begin()

    def begin(self) -> None:
        """Begins a file."""
        self.paths.append(self.folder / f"records-{len(self.paths)}.csv")
        self.file = self.paths[-1].open("wb")

    def write(self, record: bytes) -> None:
        """Takes a record."""
        self.file.write(record)
        self.end_full()

    def writelines(self, records: Iterable[bytes]) -> None:
        """Takes some records."""
        self.file.writelines(records)
        self.end_full()

    def end_full(self) -> None:
        """Begins another file where this one is full."""
        if self.sliced and self.file.tell() >= SLICE_BYTES:
            self.file.close()
            self.begin()

    def close(self) -> None:
        """Closes the last file."""
        self.file.close()


@contextmanager
def open_record_writer(
    folder: Path, delimiter: str, needed: Iterable[str], advance: Callable[[int], None], *, sliced: bool
) -> Iterator[RecordWriter]:
    """A record writer that writes into `folder`."""
    out = SlicedFile(folder, sliced=sliced)
    with closing(out), open_rejects(folder / "malformed.csv") as rejects:
        record_writer = RecordWriter(out, rejects, delimiter, needed)
        record_writer.advance = advance
        yield record_writer


@contextmanager
def open_rejects(file: Path) -> Iterator[Callable[[list[object]], object]]:
    """Takes malformed records: line, key, raw text, reasons, candidate, order value."""
    with file.open("w", newline="", encoding="utf-8") as bad:
        # With this line end, a lone carriage return in a raw text is quoted too.
        yield csv.writer(bad, lineterminator="\r\n").writerow


def quote_field(field: bytes) -> bytes:
    """The field in quotes, so that nothing in it can be taken for structure."""
    return b'"' + field.replace(b'"', b'""') + b'"'


def show_raw(raw: bytes, encoding: str = "utf-8") -> str:
    """Raw bytes as text that Postgres can keep."""
    return show_text(raw.decode(encoding, "replace"))


def show_text(raw: str) -> str:
    """Raw text as Postgres can keep it: a NUL, and half a surrogate pair, is U+FFFD like any byte that is no text.

    A record of which something was replaced is not replayed from quarantine, but from the landing zone, where
    its bytes are as they came.
    """
    return UNKEPT.sub("\ufffd", raw)
