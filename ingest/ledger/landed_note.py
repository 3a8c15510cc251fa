"""What the ledger keeps of a raw batch: its parts, and where its input stood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

Position: TypeAlias = dict[str, Any]  # where an input stood: what each kind of input makes of it, it alone knows


class PartNote(TypedDict):
    """A part of a raw batch, as the ledger keeps it."""

    name: str
    sha256: str
    size: int
    form: dict[str, Any] | None  # the fields of a FileFormat


@dataclass(frozen=True)
class LandedNote:
    """A raw batch that lies in the landing zone, as the ledger remembers it."""

    source: str
    parts: list[PartNote]
    position: Position | None
    may_be_empty: bool = False
