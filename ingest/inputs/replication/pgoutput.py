"""The messages of `pgoutput`, Postgres' own plugin for logical decoding, in version 1 of its protocol. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class PgOutputError(ValueError):
    """The bytes are no message of pgoutput, or one that version 1 does not have."""


class Unsent(Enum):
    """What stands for a value that was not sent."""

    UNCHANGED = "unchanged"  # a large value, stored apart from its row, that an update left as it was


Value = bytes | None | Unsent  # a text in the encoding of the client; None for null


@dataclass(frozen=True)
class Column:
    """A column of a table, as it was when its rows changed."""

    name: str
    oid: int  # of its type
    is_key: bool  # whether it is part of the table's replica identity


@dataclass(frozen=True)
class Relation:
    """A table; it comes before its first change, and again after its columns have changed."""

    oid: int
    schema: str
    name: str
    identity: str  # d: the primary key, f: the whole row, i: an index, n: nothing
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Begin:
    """A transaction begins: `lsn` is where its commit lies."""

    lsn: int


@dataclass(frozen=True)
class Commit:
    """A transaction ends: its commit lies at `lsn`, the log goes on at `end`."""

    lsn: int
    end: int


@dataclass(frozen=True)
class Change:
    """One row: inserted where it has no old values, deleted where it has no new ones."""

    relation: int
    kind: str  # "insert", "update" or "delete"
    new: tuple[Value, ...] | None
    old: tuple[Value, ...] | None
    is_whole: bool  # whether the old values are those of the whole row, not of its key alone


@dataclass(frozen=True)
class Truncate:
    """Tables were emptied."""

    relations: tuple[int, ...]


@dataclass(frozen=True)
class Other:
    """What means nothing here: a type, an origin, a message of an application."""

    letter: str


Message = Relation | Begin | Commit | Change | Truncate | Other
OTHERS = "YOM"
OPERATIONS: Mapping[str, str] = {"I": "insert", "U": "update", "D": "delete"}


def read_message(data: bytes) -> Message:
    """The message that the bytes are; PgOutputError where they are none."""
    scanner = Scanner(data)
    try:
        letter = scanner.letter()
        message = read_body(letter, scanner)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise PgOutputError(f"a message of {len(data)} bytes is cut short ({type(error).__name__})") from None
    if letter not in OTHERS and scanner.place != len(data):
        raise PgOutputError(f"a message {letter} is longer than it should be")
    return message


def read_body(letter: str, scanner: Scanner) -> Message:
    """What follows a message's letter."""
    match letter:
        case "B":
            lsn, _, _ = scanner.take(">QqI")
            return Begin(lsn)
        case "C":
            _, lsn, end, _ = scanner.take(">BQQq")
            return Commit(lsn, end)
        case "R":
            return scanner.relation()
        case "I" | "U" | "D":
            return scanner.change(OPERATIONS[letter])
        case "T":
            count, _ = scanner.take(">IB")
            return Truncate(tuple(scanner.take(">I")[0] for _ in range(count)))
    if letter in OTHERS:
        return Other(letter)
    raise PgOutputError(f"a message {letter!r} is unknown")


class Scanner:
    """Reads the bytes of one message from left to right."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, form: str) -> tuple[int, ...]:
        """Numbers of these forms."""
        found = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return found

    def letter(self) -> str:
        """One byte as a letter."""
        self.place += 1
        return chr(self.data[self.place - 1])

    def text(self) -> str:
        """A name, which ends with a zero."""
        end = self.data.find(b"\0", self.place)
        if end < 0:
            raise IndexError
        found = self.data[self.place : end].decode("utf-8", "replace")
        self.place = end + 1
        return found

    def relation(self) -> Relation:
        """A table and its columns."""
        (oid,) = self.take(">I")
        schema, name, identity = self.text(), self.text(), self.letter()
        columns = []
        for _ in range(self.take(">H")[0]):
            (flags,) = self.take(">B")
            column = self.text()
            kind, _ = self.take(">Ii")
            columns.append(Column(column, kind, bool(flags & 1)))
        # Tables of pg_catalog have an empty schema.
        return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))

    def change(self, kind: str) -> Change:
        """A changed row."""
        (relation,) = self.take(">I")
        new: tuple[Value, ...] | None = None
        old: tuple[Value, ...] | None = None
        letter = self.letter()
        is_whole = letter == "O"
        if letter in {"K", "O"}:
            old = self.values()
            letter = self.letter() if kind == "update" else ""
        if letter == "N":
            new = self.values()
        elif letter:
            raise PgOutputError(f"a row has a part {letter!r}, which is unknown")
        if (new is None) != (kind == "delete") or (old is None and kind == "delete"):
            raise PgOutputError(f"a part of a row is missing in a message of kind {kind}")
        return Change(relation, kind, new, old, is_whole)

    def values(self) -> tuple[Value, ...]:
        """The values of a row, in the order of the table's columns."""
        return tuple(self.value() for _ in range(self.take(">H")[0]))

    def value(self) -> Value:
        """One value."""
        match self.letter():
            case "n":
                return None
            case "u":
                return Unsent.UNCHANGED
            case "t":
                (size,) = self.take(">I")
                found = self.data[self.place : self.place + size]
                if len(found) != size:
                    raise IndexError
                self.place += size
                return found
        raise PgOutputError("a value has a form that was not asked for")
