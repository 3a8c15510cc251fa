"""Spans of time as people say them."""

from __future__ import annotations

from datetime import timedelta


def show_age(age: timedelta) -> str:
    """A span of time in its largest unit: `45 s`, `12 min`, `3 h`, `2 d`."""
    seconds = max(age.total_seconds(), 0)
    for unit, length in (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{seconds:.0f} s"
