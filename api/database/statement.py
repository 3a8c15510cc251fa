"""A compiled SQL statement for the read connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Statement:
    """SQL with $1, $2, …, the names of their values, and whether one plan serves all values."""

    text: bytes
    names: tuple[str, ...]
    # A kept plan costs a third of planning each time; a wrong one reads all of history for a page.
    keep_plan: bool
