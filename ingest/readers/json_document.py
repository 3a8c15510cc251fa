"""JSON documents: each item below the contract's `records` path is a raw record; its line is its number there.

Of an object of records, the key of each is put into it under the name that the contract's `recordKey` gives it.

The document is scanned for its brackets and texts only, so that it needs no memory and a record that is no JSON is
rejected alone. A document whose brackets do not match, or that breaks off, fails the load: what would be lost is not
known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import orjson

from catalog.model.dataset import FileFormat
from catalog.types.json_path import RecordsPath, parse_records_path
from ingest.errors import SourceError
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import ByteStream, UnpackLimit
from ingest.readers.columns import show_names
from ingest.readers.json_batches import JsonBatcher, show_text
from ingest.readers.json_object import MalformedJsonError, put_in_front, read_object
from ingest.readers.json_scanner import JsonScanner
from ingest.readers.record_writer import RecordWriter
from ingest.readers.redaction import RedactedPart, redact_document
from ingest.readers.text_encoding import open_text

BATCH_BYTES = 1 << 20
KEYS_SHOWN = 20
BREAK = re.compile(rb"\s*\n\s*")


@dataclass(frozen=True)
class RecordsLocation:
    """Where in a document the records are, and what the keys that they lie under are called."""

    path: RecordsPath | None
    key: bytes | None = None  # as JSON

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that lead there."""
        return self.path.keys if self.path else ()

    def where(self) -> str:
        """The place, for a person."""
        return "$" + "".join(f".{key}" for key in self.keys)


class DocumentReader:
    """Reads parts that are one JSON document each."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Path) -> None:
        self.file_format = file_format
        self.limit = limit
        self.location = RecordsLocation(
            parse_records_path(file_format.records) if file_format.records else None,
            orjson.dumps(file_format.record_key) if file_format.record_key else None,
        )

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's records to the record writer."""
        record_writer.open_part(part.name, None)
        batcher = JsonBatcher(record_writer)
        with open_text(part, self.limit, self.file_format, always=True) as text:
            first, records, size = 1, [], 0
            for raw in find_records(text.stream, self.location):
                records.append(raw if b"\n" not in raw else one_line(raw))
                size += len(raw)
                if size > BATCH_BYTES:
                    batcher.take(first, records)
                    first, records, size = first + len(records), [], 0
            batcher.take(first, records)

    def redact(self, part: LandedPart, dropped: Set[int], kept: list[int]) -> RedactedPart:
        """The records that stay, as NDJSON."""
        return redact_document(self.pick(part, kept))

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines.

        A good record is on one line, so that it can be read again as NDJSON; of one that is not, the text is kept.
        """
        wanted = iter(lines)
        target = next(wanted, None)
        with open_text(part, self.limit, self.file_format, always=True) as text:
            for number, raw in enumerate(find_records(text.stream, self.location), 1):
                if target is None:
                    return
                if number == target:
                    yield number, show_text(one_line(raw))
                    target = next(wanted, None)


def one_line(raw: bytes) -> bytes:
    """A good record without its line breaks, which no text within it holds as they are; another as it is."""
    try:
        read_object(raw)
    except MalformedJsonError:
        return raw
    return BREAK.sub(b" ", raw)


def find_records(stream: ByteStream, location: RecordsLocation) -> Iterator[bytes]:
    """The texts of the records, in order; of one that is too long, a beginning that is too long too.

    SourceError where the document is broken, or where nothing lies at the path.
    """
    scanner = JsonScanner(stream)
    if scanner.peek() == b"":
        return  # nothing at all: an empty file
    yield from descend(scanner, location, 0)
    if scanner.peek() != b"":
        raise SourceError(
            f"The JSON document continues after its end, at {scanner.position()}: use the format ndjson"
            f" if each line is a record."
        )


def descend(scanner: JsonScanner, location: RecordsLocation, depth: int) -> Iterator[bytes]:
    """The records below the value that the scanner has come to, `depth` keys down the path."""
    if depth == len(location.keys):
        yield from list_items(scanner, location)
        return
    wanted = location.keys[depth]
    where = "".join(f".{key}" for key in location.keys[:depth])
    if scanner.peek() != b"{":
        raise SourceError(f"The JSON document has no object at ${where}, and so no {wanted!r} in it.")
    keys: list[str] = []
    found = False
    for key in scanner.members():
        if key != wanted:
            keys += [key] if len(keys) < KEYS_SHOWN else []
            scanner.skip()
            continue
        if found:
            raise SourceError(f"The JSON document has the key {wanted!r} twice at ${where}.")
        found = True
        yield from descend(scanner, location, depth + 1)
    if not found:
        shown = show_names(keys)
        raise SourceError(f"The JSON document has no {wanted!r} at ${where}; its keys there are: {shown}.")


def list_items(scanner: JsonScanner, location: RecordsLocation) -> Iterator[bytes]:
    """The items of an array, the members of an object, or the one record that is an object."""
    start = scanner.peek()
    path = location.path
    if start == b"[":
        for _ in scanner.items():
            if location.key is not None:
                raise SourceError(
                    f"The JSON document has a list at {location.where()}, whose items have no keys: `recordKey`"
                    f" only applies to an object of records."
                )
            yield scanner.take()
    elif start == b"{" and path is None:
        keys: list[str] = []
        for key in scanner.members():
            keys += [key] if len(keys) < KEYS_SHOWN else []
            scanner.skip()
        raise SourceError(
            "The JSON document is an object, not an array: set `records` of the input to the path of"
            f" the records, such as $.name[*], or $ if the document is one record. Its keys: {show_names(keys)}."
        )
    elif start == b"{" and path is not None and path.items:
        for name in scanner.raw_members():
            raw = scanner.take()
            yield raw if location.key is None else put_key(raw, location.key, name)
    elif start == b"n":
        scanner.skip()  # null: many services write it for no records
    else:
        yield scanner.take()


def put_key(raw: bytes, name: bytes, key: bytes) -> bytes:
    """The record with its own key in it, which is read as any other value; what is no object, as it is."""
    if not raw.startswith(b"{"):
        return raw
    return put_in_front(raw, [name + b":" + key])
