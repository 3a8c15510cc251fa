"""Messages as lines: what lies in the landing zone, and is parsed by the reader of the input's format.

Line n of the part `topic/3@1000` is the message with offset 1000 + n - 1 of partition 3. An offset without a message
is a blank line, so that a rejected record is found by its line as in a file; after a larger gap a new part begins.

A value is kept byte by byte, but for line feeds, which become carriage returns: in JSON both are blanks between
values, and neither may stand in a text. What cannot be a record is kept as a JSON text, and is rejected alone.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol, TypeGuard

import orjson

from catalog.model.dataset import Dataset
from ingest.cleaning.plan import needed_columns
from ingest.inputs.raw_batch import RawBatch, RawPart
from ingest.inputs.stream.messages import Message, Run
from ingest.ledger.landed_note import Position
from ingest.readers.json_object import MARKED, put_in_front
from ingest.readers.record_writer import JSON_COLUMN

LONGEST_GAP = 1_000  # offsets without a message that become blank lines
CHUNK_BYTES = 1 << 20
BLANKS = b" \t\r\n"
METADATA = ("_key", "_partition", "_offset", "_timestamp", "_headers")
ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")

WriteLines = Callable[[Run], list[bytes]]


class MessageSpool:
    """Takes the messages of one batch into files, a file for each part; they come in any order of partitions."""

    def __init__(self, folder: Path, topic: str, write_lines: WriteLines) -> None:
        self.folder = folder
        self.topic = topic
        self.write_lines = write_lines
        self.files: dict[int, BinaryIO] = {}
        self.next: dict[int, int] = {}  # the offset of the next line of the open part of each partition
        self.parts: list[tuple[int, int, Path]] = []  # partition, offset of its first line, file
        self.size = 0

    def take(self, run: Run) -> None:
        """Writes some messages."""
        partition, first, lines = run.partition, run.offsets[0], self.write_lines(run)
        if partition not in self.files:
            self.open_part(partition, first)
        waiting: list[bytes] = []
        begin = 0
        for index, gap in run.gaps(self.next.get(partition, first)):
            waiting += lines[begin:index]
            begin = index
            if gap <= LONGEST_GAP:
                waiting += [b""] * gap
            else:
                self.write(partition, waiting)
                self.open_part(partition, run.offsets[index])
                waiting = []
        self.write(partition, waiting + lines[begin:])
        self.next[partition] = run.offsets[-1] + 1

    def write(self, partition: int, lines: list[bytes]) -> None:
        """Writes lines into the open part of a partition."""
        if lines:
            self.size += self.files[partition].write(b"\n".join(lines) + b"\n")

    def open_part(self, partition: int, offset: int) -> None:
        """Begins a new part of a partition."""
        if partition in self.files:
            self.files[partition].close()
        path = self.folder / f"part-{len(self.parts)}"
        self.files[partition] = path.open("wb")
        self.parts.append((partition, offset, path))

    def close(self) -> None:
        """Closes the files."""
        for file in self.files.values():
            file.close()

    def read(self) -> Iterator[RawPart]:
        """The parts, by partition and offset."""
        self.close()
        for partition, offset, path in sorted(self.parts):
            yield RawPart(f"{self.topic}/{partition}@{offset}", read_chunks(path), path.stat().st_size)


class Spool(Protocol):
    """What a batch was written into."""

    size: int

    def read(self) -> Iterator[RawPart]:
        """The parts."""


def make_batch(
    source: str, spool: Spool, position: Callable[[], Position], notes: list[str], *, more: bool
) -> RawBatch:
    """The batch of what a source holds behind a position: it may be empty, and says whether more waits."""
    return RawBatch(
        source=source,
        parts=spool.read(),
        size=spool.size,
        position=position,
        may_be_empty=True,
        more=more,
        notes=lambda: notes,
    )


def read_chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes, which go when they have been read."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
    path.unlink()


def choose_writer(dataset: Dataset, key: str | None, decode: Callable[[bytes], bytes] | None) -> WriteLines:
    """How the messages of a dataset become lines; `decode` makes JSON of values that are none, such as Avro."""
    source = dataset.input
    file_format = source.file_format.format if source else "ndjson"
    if file_format == "csv":
        return lambda run: list(map(write_delimited, run.values))
    needed = needed_columns(dataset)
    metadata = METADATA if JSON_COLUMN in needed else tuple(name for name in METADATA if name in needed)
    deletes = source is not None and source.deletions is not None and source.deletions.marked
    tombstone = TombstoneWriter(dataset, key) if deletes else None
    plain = not metadata and key is None and decode is None and file_format != "cloudevents"

    def write_message(message: Message) -> bytes:
        value = message.value
        if value is None and tombstone is not None:
            return put_members(tombstone.write(message), message, metadata, None)
        if value is not None and decode is not None:
            value = decode(value)
        if file_format == "cloudevents" and value is not None:
            value = wrap_event(value, message.headers)
        return put_members(write_value(value), message, metadata, key)

    def write_lines(run: Run) -> list[bytes]:
        if plain and are_lines(run.values):
            return list(run.values)
        return [
            value
            if plain and value is not None and value[:1] == b"{" and b"\n" not in value
            else write_message(run.get(index))
            for index, value in enumerate(run.values)
        ]

    return write_lines


def are_lines(values: Sequence[bytes | None]) -> TypeGuard[Sequence[bytes]]:
    """Whether each value is a line that begins an object."""
    known = [value for value in values if value is not None]
    text = b"\n".join(known)
    # As many line ends as were put between them, each before an object.
    ends = text.count(b"\n")
    return ends == text.count(b"\n{") == len(values) - 1 and text[:1] == b"{"


def write_value(value: bytes | None) -> bytes:
    """A value as a line: a JSON object as it is, all else as something that is no object, and so is rejected."""
    if value is None:
        return b"null"
    text = value.strip(BLANKS)
    if text.startswith(b"{"):
        return text.replace(b"\n", b"\r")
    return orjson.dumps(value.decode("utf-8", "replace"))


def put_members(line: bytes, message: Message, metadata: Collection[str], key: str | None) -> bytes:
    """The line with what the contract reads of the message itself at its beginning."""
    if not line.startswith(b"{"):
        return line
    members = [] if key is None else [orjson.dumps(key) + b":" + orjson.dumps(show_key(message.key))]
    members += [b'"%b":%b' % (name.encode(), orjson.dumps(describe(name, message))) for name in metadata]
    return put_in_front(line, members)


def describe(name: str, message: Message) -> object:
    """What a message says of itself under one of the names of METADATA."""
    match name:
        case "_key":
            return show_key(message.key)
        case "_partition":
            return message.partition
        case "_offset":
            return message.offset
        case "_timestamp":
            return show_moment(message.timestamp)
    return {key: (value or b"").decode("utf-8", "replace") for key, value in message.headers}


def show_moment(milliseconds: int | None) -> str | None:
    """A moment in ISO 8601, in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_key(key: bytes | None) -> str | None:
    """A message's key as text; in base64 where it is none."""
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return base64.b64encode(key).decode()


class TombstoneWriter:
    """Makes of a message without a value the raw record that deletes its key."""

    def __init__(self, dataset: Dataset, key: str | None) -> None:
        columns = [dataset.properties[name].raw_columns for name in dataset.key]
        plain = all(dataset.properties[name].transform is None for name in dataset.key)
        self.column = key or (columns[0][0] if plain and len(columns) == 1 else None)

    def write(self, message: Message) -> bytes:
        """The record: the key's own members where it is a JSON object, else the column that the key is."""
        found = read_json(message.key)
        if isinstance(found, dict) and isinstance(found.get("payload"), dict) and "schema" in found:
            found = found["payload"]  # of a converter that writes the schema into each message
        if isinstance(found, dict):
            return put_mark(orjson.dumps(found))
        if self.column is None or message.key is None:
            return orjson.dumps(show_key(message.key) or "")
        # A text and a number are one and the same key: which of both it is, the property's type says.
        value = found if isinstance(found, str) else show_key(message.key)
        return put_mark(orjson.dumps({self.column: value}))


def put_mark(line: bytes) -> bytes:
    """A JSON object with the mark of deletion."""
    return put_in_front(line, [MARKED])


def read_json(text: bytes | None) -> object:
    """A text as JSON; None where it is none."""
    try:
        return orjson.loads(text or b"null")
    except orjson.JSONDecodeError:
        return None


def wrap_event(value: bytes, headers: Sequence[tuple[str, bytes]]) -> bytes:
    """A CloudEvent in binary mode as one in structured mode; any other value as it is."""
    names = {name.lower().replace("ce-", "ce_", 1): text for name, text in headers}
    attributes = {name[3:]: text.decode("utf-8", "replace") for name, text in names.items() if name.startswith("ce_")}
    if "specversion" not in attributes or read_json(value) is None:
        return value
    return orjson.dumps(attributes)[:-1] + b',"data":' + value.replace(b"\n", b"\r") + b"}"


def write_delimited(value: bytes | None) -> bytes:
    """A line of delimited text; what is more than a line, or no text, as one field in quotes, which is rejected."""
    value = (value or b"").rstrip(b"\r\n")
    whole = value and b"\n" not in value and not value.startswith(ARCHIVES) and value[0] >= 0x20 and value[0] < 0x7F
    if whole:
        return value
    text = value.decode("utf-8", "replace").replace("\n", " ").replace('"', '""')
    return f'"{text}"'.encode()
