"""The raw text of a published record, found again in the landing zone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalog.model.dataset import Dataset, file_format_of
from ingest.errors import IngestError
from runtime.errors import StoreError
from runtime.settings.settings import Settings


def make_raw_lookup(settings: Settings) -> Callable[[Dataset, dict[str, Any], int], str | None]:
    """A function that finds the raw text at a line of a load's batch; None where the batch is not here any more."""

    def find_raw(dataset: Dataset, load: dict[str, Any], line: int) -> str | None:
        landed, parts = load.get("landed"), load.get("parts")
        if not landed or not parts:
            return None
        # Here, because they bring DuckDB along: a service that is never asked saves 40 MB.
        from ingest.landing.landing_zone import LandingZone
        from ingest.landing.unpacking import UnpackLimit
        from ingest.readers import pick_raw
        from ingest.readers.record_writer import ParsedPart

        file_format = file_format_of(dataset)
        spans = [ParsedPart(part["name"], part["offset"], tuple(part["columns"] or ()) or None) for part in parts]
        try:
            with tempfile.TemporaryDirectory() as folder:
                batch = LandingZone.of(settings).recall(landed["parts"], Path(folder))
                for _, raw in pick_raw(batch, file_format, spans, UnpackLimit.of(settings), [line], Path(folder)):
                    return raw
        except (IngestError, StoreError, OSError, ValueError):
            return None
        return None

    return find_raw
