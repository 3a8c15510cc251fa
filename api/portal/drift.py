"""How the figures of a property changed over the last revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FIGURES = ("mean", "minimum", "maximum")  # that not every property has


@dataclass(frozen=True)
class Drift:
    """The figures of one revision, beside those of the revision that was profiled before it."""

    revision: int
    records: int
    figures: dict[str, Any]
    before: Drift | None

    @property
    def null_change(self) -> int:
        """1 where a greater share has no value than before, -1 where a smaller one has, else 0."""
        if self.before is None:
            return 0
        # Whole numbers alone: shares of two revisions that are equal stay so.
        return sign(
            self.figures["nulls"] * self.before.records - self.before.figures["nulls"] * self.records,
        )

    @property
    def distinct_change(self) -> int:
        """1 where there are more distinct values than before, -1 where there are fewer, else 0."""
        return sign(self.figures["distinct"] - self.before.figures["distinct"]) if self.before else 0

    def is_new(self, figure: str) -> bool:
        """Whether a figure is another one than before."""
        return self.before is not None and self.figures.get(figure) != self.before.figures.get(figure)


def drift_of(name: str, profiles: Sequence[dict[str, Any]]) -> list[Drift]:
    """The figures of a property by revision, newest first; empty where there are not two to be compared."""
    found = [
        (profile, figures) for profile in profiles for figures in profile["properties"] if figures["property"] == name
    ]
    rows: list[Drift] = []
    for profile, figures in reversed(found):
        rows.append(
            Drift(profile["revision"], profile["record_count"], figures, rows[-1] if rows else None),
        )
    return rows[::-1] if len(rows) > 1 else []


def figures_of_drift(rows: Sequence[Drift]) -> list[str]:
    """Those of FIGURES that any of the revisions has."""
    return [name for name in FIGURES if any(row.figures.get(name) is not None for row in rows)]


def sign(number: int) -> int:
    """1, 0 or -1."""
    return (number > 0) - (number < 0)
