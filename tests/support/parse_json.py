"""JSON texts cut into records, and picked again."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

from catalog.model.dataset import FileFormat
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import parse_batch, pick_raw
from tests.support.lab import land_bytes

Found = tuple[list[tuple[int, str]], list[tuple[int, str, str]]]


def parse(content: bytes, file_format: FileFormat) -> Found:
    """The records (line, JSON text) and the malformed ones (line, raw text, message); each is picked again."""
    csv.field_size_limit(1 << 30)
    with tempfile.TemporaryDirectory() as folder:
        landed = LandedBatch("test", (land_bytes(Path(folder), content),))
        batch = parse_batch(landed, file_format, [], Path(folder), UnpackLimit(1 << 40), lambda amount: None)
        (records_file,) = batch.records
        with records_file.open(newline="") as file:
            records = [(int(line), text) for line, text in csv.reader(file)]
        with batch.malformed.open(newline="") as file:
            malformed = [(int(r[0]), r[2], json.loads(r[3])[0]["message"]) for r in csv.reader(file)]
        every = sorted(line for line, *_ in [*records, *malformed])
        picked = dict(pick_raw(landed, file_format, batch.parts, UnpackLimit(1 << 40), every))
    assert batch.raw == len(records) + len(malformed)
    assert batch.malformed_count == len(malformed)
    assert list(picked) == every
    assert all(json.loads(picked[line]) is not None for line, _ in records)
    assert all(picked[line] == raw for line, raw, _ in malformed)
    return records, malformed
