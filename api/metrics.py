"""What is counted of the requests."""

from __future__ import annotations


def observe(kind: str, status: int, seconds: float) -> None:
    """Counts one answered question."""


def count_cache(hit: bool) -> None:
    """Counts one look into the cache."""
