"""Passes JSON texts to the record writer in batches: each as a record, or as malformed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from ingest.readers.json_object import MalformedJsonError, keep_digits, read_object, read_plain
from ingest.readers.record_writer import (
    KNOWN_KEYS_LIMIT,
    MALFORMED_SHOWN_BYTES,
    RECORD_LIMIT_BYTES,
    RecordWriter,
    show_raw,
)

BATCH_RECORDS = 1000
ONE_BY_ONE = 8  # so few are not halved again in search of the one that is not plain
BLANKS = b" \t\r"


class JsonBatcher:
    """Takes the texts of one part, in order."""

    def __init__(self, record_writer: RecordWriter) -> None:
        self.record_writer = record_writer
        self.seen_keys: set[str] = set()

    def take(self, first: int, raws: Sequence[bytes]) -> None:
        """Hands over these texts, the first at line `first`; blank ones are none."""
        for start in range(0, len(raws), BATCH_RECORDS):
            self.write_halves(first + start, raws[start : start + BATCH_RECORDS])
        self.record_writer.advance(len(raws))

    def write_halves(self, first: int, raws: Sequence[bytes]) -> None:
        """All at once where every text is plainly a record; else half of them, and the other half."""
        if (records := read_plain(raws)) is not None:
            self.record_writer.add_json(first, raws)
            if not self.seen_keys.issuperset(chain.from_iterable(records)):
                self.note(chain.from_iterable(records))
        elif len(raws) > ONE_BY_ONE:
            middle = len(raws) // 2
            self.write_halves(first, raws[:middle])
            self.write_halves(first + middle, raws[middle:])
        else:
            for line, raw in enumerate(raws, first):
                if raw.strip(BLANKS):
                    self.take_one(line, raw)

    def take_one(self, line: int, raw: bytes) -> None:
        """Writes one text: as a record, or as malformed."""
        try:
            record = read_object(raw)
        except MalformedJsonError as error:
            self.record_writer.add_malformed(line, show_text(raw), str(error))
            return
        self.record_writer.add_json(line, [keep_digits(raw)])
        self.note(record)

    def note(self, keys: chain[str] | dict[str, object]) -> None:
        """Remembers keys that have not been seen before, up to a number."""
        new = [key for key in dict.fromkeys(keys) if key not in self.seen_keys]
        if new and len(self.seen_keys) < KNOWN_KEYS_LIMIT:
            self.seen_keys.update(new)
            self.record_writer.note_keys(new)


def show_text(raw: bytes) -> str:
    """A text for a person, without blanks around it; of one that is too long, its beginning."""
    return show_raw(raw.strip(BLANKS) if len(raw) <= RECORD_LIMIT_BYTES else raw[:MALFORMED_SHOWN_BYTES])
