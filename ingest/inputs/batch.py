"""What every input hands over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RawBatch:
    """The bytes of one read of an input, as they came, and where they came from."""

    source: str  # what a person would call it: a file's name, a query
    chunks: Iterator[bytes]
    size: int | None  # bytes, where known beforehand
    position: dict[str, Any] | None = None  # where the input stands after this batch
