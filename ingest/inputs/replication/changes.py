"""Changed rows as lines: what lies in the landing zone, and is parsed as NDJSON. Pure, but for the files.

A part holds whole transactions, and is called by where the first begins to commit and the last ends:
`public.orders@0/16B3748-0/16B3F00`; line n is the n-th change among them. A deletion is a line with the mark of
deletion and the values of the replica identity; an update that gives a row another key is a deletion and a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson

from ingest.inputs.raw_batch import RawPart
from ingest.inputs.replication.pgoutput import Change, Column, Relation, Unsent, Value
from ingest.inputs.replication.values import Types, write_value
from ingest.inputs.stream.lines import read_chunks
from ingest.readers.json_object import MARKED
from ingest.readers.record_writer import DELETED

PART_BYTES = 16 << 20  # from which on the next transaction begins a new part


def write_lsn(lsn: int) -> str:
    """A place in the log as Postgres writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def read_lsn(text: str) -> int:
    """A place in the log as a number; ValueError where the text is none."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@dataclass
class RowWriter:
    """Writes rows of one table as lines."""

    key: frozenset[str]  # the columns that the dataset's key is read from
    kinds: Mapping[str, str]  # the types of the properties that columns are read for as they are
    types: Types = field(default_factory=Types)

    def write_change(self, change: Change, relation: Relation) -> list[bytes]:
        """The lines that a change becomes."""
        columns = relation.columns
        if change.new is None:
            return [self.write_deletion(columns, change.old or (), whole=change.is_whole)]
        new = fill_in(change.new, change.old if change.is_whole else None)
        if any(value is Unsent.UNCHANGED for value in new):
            return [self.write_incomplete(columns, new)]
        line = self.write_row(columns, new)
        if change.old is not None and self.has_other_key(columns, change.old, new, whole=change.is_whole):
            return [self.write_deletion(columns, change.old, whole=change.is_whole), line]
        return [line]

    def has_other_key(
        self, columns: Sequence[Column], old: Sequence[Value], new: Sequence[Value], *, whole: bool
    ) -> bool:
        """Whether an update changes what the dataset's key is read from."""
        return any(
            before != after
            for column, before, after in zip(columns, old, new, strict=True)
            if column.name in self.key and (whole or column.is_key)
        )

    def write_row(self, columns: Sequence[Column], values: Sequence[Value]) -> bytes:
        """A row as a JSON object."""
        return b"{" + b",".join(self.write_members(columns, values)) + b"}"

    def write_deletion(self, columns: Sequence[Column], values: Sequence[Value], *, whole: bool) -> bytes:
        """The deletion of a row: what identifies it, and the mark."""
        sent = [(column, value) for column, value in zip(columns, values, strict=True) if whole or column.is_key]
        members = self.write_members([column for column, _ in sent], [value for _, value in sent])
        return b"{" + b",".join([MARKED, *members]) + b"}"

    def write_incomplete(self, columns: Sequence[Column], values: Sequence[Value]) -> bytes:
        """An update without its large values: no record, so that it is rejected alone and says why."""
        missing = [column.name for column, value in zip(columns, values, strict=True) if value is Unsent.UNCHANGED]
        shown = [None if value is Unsent.UNCHANGED else value for value in values]
        why = f"not sent, as they did not change: {', '.join(missing)} (set REPLICA IDENTITY FULL); the others are "
        return orjson.dumps(why + self.write_row(columns, shown).decode("utf-8", "replace"))

    def write_members(self, columns: Sequence[Column], values: Sequence[Value]) -> list[bytes]:
        """The members of a row's object; a column that is called like the mark is none of them."""
        return [
            orjson.dumps(column.name) + b":" + self.write_member(column, value)
            for column, value in zip(columns, values, strict=True)
            if column.name != DELETED and not isinstance(value, Unsent)
        ]

    def write_member(self, column: Column, value: bytes | None) -> bytes:
        """One value of a row."""
        if value is None:
            return b"null"
        return write_value(value, column.oid, self.kinds.get(column.name), self.types)


def fill_in(new: Sequence[Value], old: Sequence[Value] | None) -> tuple[Value, ...]:
    """New values, with old ones in the place of large ones that did not change, where these are known."""
    if old is None:
        return tuple(new)
    return tuple(before if after is Unsent.UNCHANGED else after for before, after in zip(old, new, strict=True))


class ChangeSpool:
    """Takes the lines of one batch into files, a file for each part."""

    def __init__(self, folder: Path, table: str) -> None:
        self.folder = folder
        self.table = table
        self.parts: list[tuple[str, Path]] = []
        self.size = 0
        self.records = 0
        self.file: BinaryIO | None = None
        self.part_bytes = 0
        self.first = 0  # where the open part's first transaction commits

    def take(self, line: bytes, lsn: int) -> None:
        """Writes one line of the transaction that commits there."""
        if self.file is None:
            self.file = (self.folder / f"part-{len(self.parts)}").open("wb")
            self.first, self.part_bytes = lsn, 0
        self.file.write(line + b"\n")
        self.size += len(line) + 1
        self.part_bytes += len(line) + 1
        self.records += 1

    def end_transaction(self, end: int) -> None:
        """A transaction ended, behind which the log goes on there."""
        if self.part_bytes >= PART_BYTES:
            self.end_part(end)

    def end_part(self, end: int) -> None:
        """Ends the open part, whose last transaction ended there."""
        if self.file is not None:
            self.name_part(f"{self.table}@{write_lsn(self.first)}-{write_lsn(end)}")

    def name_part(self, name: str) -> None:
        """Ends the open part, and calls it so."""
        if self.file is not None:
            self.file.close()
            self.parts.append((name, self.folder / f"part-{len(self.parts)}"))
            self.file = None

    def close(self) -> None:
        """Closes the file."""
        if self.file is not None:
            self.file.close()

    def read(self) -> Iterator[RawPart]:
        """The parts, in the order of the log."""
        for name, path in self.parts:
            yield RawPart(name, read_chunks(path), path.stat().st_size)
