"""Reader for replayed rejected records: each is parsed alone from its raw text, by the input's file format.

The batch is NDJSON: a line for each part of an earlier batch, {load, file, offset, columns, …}, and after it one for
each of its records, [id, line, raw text, why it cannot be replayed]. A record's line in the batch is the one that it
stands on.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.model.dataset import FileFormat
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import UnpackLimit, open_landed
from ingest.readers.delimited import CsvParser
from ingest.readers.record_writer import RecordWriter
from ingest.readers.redaction import RedactedPart, blank_lines
from ingest.readers.text_encoding import OpenText

FORMAT = "rejects"
NOTHING = OpenText(io.BytesIO(), "utf-8", "utf-8", b"\n")  # single records are parsed


class RejectsReader:
    """Reads batches of rejected records."""

    def __init__(self, file_format: FileFormat, limit: UnpackLimit, folder: Path | None = None) -> None:
        self.file_format = replace(file_format, format="csv", encoding="utf-8")
        self.limit = limit

    def parse(self, part: LandedPart, record_writer: RecordWriter) -> None:
        """Passes the part's records to the record writer."""
        from ingest.readers.json_batches import JsonBatcher

        parser = CsvParser(NOTHING, self.file_format)
        as_json = False
        columns: tuple[str, ...] | None = None
        opened = False
        for number, item in self.lines(part):
            if isinstance(item, dict):
                as_json = item["as_json"]
                columns = tuple(item["columns"]) if item["columns"] is not None else None
                if columns is not None:
                    parser = CsvParser(NOTHING, replace(self.file_format, columns=columns))
                if not opened:
                    record_writer.open_part(part.name, None if as_json else record_writer.needed)
                    opened = True
                continue
            _, _, raw, hindrance = item
            if hindrance is not None:
                record_writer.add_malformed(number, raw, hindrance)
                record_writer.advance(1)
            elif columns is None:
                JsonBatcher(record_writer).take(number, [raw.encode().replace(b"\r", b" ").replace(b"\n", b" ")])
            else:
                self.parse_fields(number, raw, parser, record_writer, as_json=as_json)
                record_writer.advance(1)

    def parse_fields(
        self, number: int, raw: str, parser: CsvParser, record_writer: RecordWriter, *, as_json: bool
    ) -> None:
        """Hands over one record of a table, whole or malformed."""
        record = parser.parse(number, raw.encode())
        if record.fields is None:
            record_writer.add_malformed(number, raw, record.problem or "")
            return
        values = dict(zip(parser.header, record.fields, strict=True))
        if as_json:
            named = {name: value.decode() for name, value in values.items()}
            record_writer.add_json(number, [json.dumps(named, ensure_ascii=False).encode()])
            record_writer.note_keys(named)
            return
        missing = [name for name in record_writer.needed if name not in values]
        if missing:
            record_writer.add_malformed(number, raw, f"lacks the columns {', '.join(missing)}")
        else:
            record_writer.add(number, [values[name] for name in record_writer.needed])

    def redact(self, part: LandedPart, dropped: Set[int], kept: list[int]) -> RedactedPart:
        """The same text, with blank lines for the records that go."""
        return RedactedPart(replace(self.file_format, format=FORMAT), self.blank(part, dropped))

    def blank(self, part: LandedPart, dropped: Set[int]) -> Iterator[bytes]:
        """The part's text, with nothing on these lines."""
        with open_landed(part, self.limit) as packed:
            yield from blank_lines(packed, dropped, b"\n")

    def pick(self, part: LandedPart, lines: Iterable[int]) -> Iterator[tuple[int, str]]:
        """(line, raw text) of the records at these ascending lines."""
        wanted = iter(lines)
        target = next(wanted, None)
        for number, item in self.lines(part):
            if target is None:
                return
            if number == target:
                yield number, item[2]
                target = next(wanted, None)

    def lines(self, part: LandedPart) -> Iterator[tuple[int, Any]]:
        """(number, what it says) of each line that says something; one that was redacted says nothing."""
        with open_landed(part, self.limit) as stream:
            carry, number, ended = b"", 1, False
            while not ended:
                chunk = stream.read(1 << 20)
                ended = not chunk
                *whole, carry = (carry + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield number, json.loads(line)
                    number += 1
