"""A batch that lies in the landing zone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from catalog.model.dataset import FileFormat


@dataclass(frozen=True)
class LandedPart:
    """One part of a raw batch in the landing zone."""

    name: str
    sha256: str
    path: Path
    size: int  # bytes, as it came
    file_format: FileFormat | None = None  # how it is parsed, where not as the input says


@dataclass(frozen=True)
class LandedBatch:
    """A raw batch in the landing zone; that of one part has its part's digest."""

    sha256: str
    parts: tuple[LandedPart, ...]
