"""What a filter of a query names, without its value."""

from __future__ import annotations

from dataclasses import dataclass

SEARCH = "q"  # the operator of a text search, which belongs to no single property


@dataclass(frozen=True)
class Filter:
    """One condition of a query; its value travels beside it, so that filters alone name the statement."""

    property: str  # empty for a text search
    operator: str
