"""Raw batches in the landing zone without some of their records; every other record keeps its line."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from catalog.model.dataset import FileFormat
from ingest.inputs.raw_batch import RawPart
from ingest.landing.landed_batch import LandedPart
from ingest.landing.landing_zone import land_part
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import make_reader


@dataclass(frozen=True)
class RedactionSpace:
    """Where redacted parts lie until they are placed, and what may be unpacked there."""

    folder: Path
    limit: UnpackLimit


def redact_part(
    part: LandedPart, file_format: FileFormat, dropped: Set[int], lines: list[int], space: RedactionSpace
) -> LandedPart:
    """The part without the records at the lines in `dropped`, not yet in the landing zone.

    `lines` are all that its records stand on; of a table, which keeps its text, none are needed.
    """
    reader = make_reader(part.file_format or file_format, space.limit, space.folder)
    redacted = reader.redact(part, dropped, [line for line in lines if line not in dropped])
    raw = RawPart(part.name, redacted.chunks, file_format=redacted.file_format)
    return land_part(raw, space.folder, space.limit.size, lambda amount: None)
