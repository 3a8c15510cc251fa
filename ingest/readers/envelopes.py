"""Envelopes: lines of NDJSON whose raw record is inside, a change of a database (Debezium) or a CloudEvent.

What is inside is taken as it is written, so that no digit of it is lost. Members that Decant put in front of a
message (`_key`, `_offset` and so on) go into the record.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from catalog.model.dataset import FileFormat
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers.json_batches import BLANKS, JsonBatcher, show_text
from ingest.readers.json_lines import NdjsonReader
from ingest.readers.json_object import MARKED, MalformedJsonError, put_in_front, read_object
from ingest.readers.json_scanner import JsonScanner
from ingest.readers.record_writer import DELETED, RecordWriter

WRITTEN = ("c", "r", "u")  # Debezium: a row inserted, read in the first snapshot, changed
ROW_DELETED = "d"
UNCHANGED = b"__debezium_unavailable_value"  # what stands for a large value that the database did not send
ATTRIBUTES = ("id", "source", "type", "subject", "time")  # of a CloudEvent, which a record has as _id, _source, …

Unwrap = Callable[[bytes], bytes]


class EnvelopeReader(NdjsonReader):
    """Reads parts of NDJSON whose lines are envelopes."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Any, unwrap: Unwrap) -> None:
        super().__init__(file_format, limit, folder)
        self.unwrap = unwrap

    def parse_lines(self, name: str, blocks: Iterable[tuple[int, list[bytes]]], record_writer: RecordWriter) -> None:
        """Passes the records in some lines of a part to the record writer: (number of the first line, lines)."""
        record_writer.open_part(name, None)
        batcher = JsonBatcher(record_writer)
        for first, lines in blocks:
            self.take(first, lines, batcher, record_writer)

    def take(self, first: int, lines: list[bytes], batcher: JsonBatcher, record_writer: RecordWriter) -> None:
        """Hands over what is inside these lines, the first at line `first`."""
        start, records = first, []
        for line, raw in enumerate(lines, first):
            try:
                records.append(self.unwrap(raw) if raw.strip(BLANKS) else b"")
            except MalformedJsonError as error:
                batcher.take(start, records)
                record_writer.add_malformed(line, show_text(raw), str(error))
                start, records = line + 1, []
        batcher.take(start, records)

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines: what is inside, or all of a broken envelope."""
        for line, text in super().pick(part, lines):
            try:
                yield line, show_text(self.unwrap(text.encode()))
            except MalformedJsonError:
                yield line, text


def make_debezium_reader(file_format: FileFormat, limit: UnpackLimit, folder: Any) -> EnvelopeReader:
    """A reader of changes as Debezium writes them."""
    return EnvelopeReader(file_format, limit, folder, unwrap_change)


def make_cloudevents_reader(file_format: FileFormat, limit: UnpackLimit, folder: Any) -> EnvelopeReader:
    """A reader of CloudEvents in structured mode."""
    return EnvelopeReader(file_format, limit, folder, unwrap_event)


def unwrap_change(raw: bytes) -> bytes:
    """The row of a change: as it is now, or as it was, with the mark of deletion; MalformedJsonError without one."""
    envelope = read_object(raw)
    if envelope.get(DELETED) is True:
        return raw  # a message without a value
    written = take_members(raw)
    if isinstance(envelope.get("payload"), dict) and "op" not in envelope:
        envelope, own = orjson.loads(written["payload"]), own_members(written)
        written = take_members(written["payload"])
    else:
        own = own_members(written)
    operation = envelope.get("op")
    if operation in WRITTEN and isinstance(envelope.get("after"), dict):
        row = written["after"]
    elif operation == ROW_DELETED and isinstance(envelope.get("before"), dict):
        row, own = written["before"], [*own, MARKED]
    elif operation in (*WRITTEN, ROW_DELETED):
        side = "before" if operation == ROW_DELETED else "after"
        raise MalformedJsonError(f"is a change without its row: {side!r} is missing")
    else:
        raise MalformedJsonError(f"is no change of a row: `op` is {str(operation)[:20]!r}")
    if UNCHANGED in row and operation != ROW_DELETED:
        raise MalformedJsonError("has a value that the database did not send: its table needs REPLICA IDENTITY FULL")
    return put_in_front(row, own)


def unwrap_event(raw: bytes) -> bytes:
    """The data of a CloudEvent, with its attributes as _id, _source, _type, _subject and _time."""
    envelope = read_object(raw)
    if envelope.get(DELETED) is True:
        return raw
    if not isinstance(envelope.get("specversion"), str):
        raise MalformedJsonError("is no CloudEvent: `specversion` is missing")
    if not isinstance(envelope.get("data"), dict):
        raise MalformedJsonError("is a CloudEvent whose `data` is no JSON object")
    written = take_members(raw)
    attributes = [b'"_%b":%b' % (name.encode(), written[name]) for name in ATTRIBUTES if name in written]
    return put_in_front(written["data"], [*own_members(written), *attributes])


def take_members(raw: bytes) -> dict[str, bytes]:
    """The members of a JSON object that is well formed, each as it is written."""
    scanner = JsonScanner(io.BytesIO(raw))
    try:
        return {key: scanner.take() for key in scanner.members()}
    except SourceError:
        raise MalformedJsonError("is not JSON") from None


def own_members(written: dict[str, bytes]) -> list[bytes]:
    """The members of a line that Decant put in front of the message."""
    return [orjson.dumps(key) + b":" + value for key, value in written.items() if key.startswith("_")]
