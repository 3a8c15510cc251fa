"""The series of a chart: as many as there are colours, so that no two look alike. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from api.portal.charts.marks import PALETTE, Values

OTHERS = "(others)"


@dataclass(frozen=True)
class Series:
    """The series that have a colour of their own, and the others."""

    drawn: tuple[Any, ...]  # labels
    others: tuple[Any, ...]
    is_merged: bool  # the others are drawn in one colour; otherwise they are left out

    def keep(self, values: Values) -> Values:
        """The values that are drawn."""
        if self.is_merged:
            return [value if value["z"] in self.drawn else value | {"z": OTHERS} for value in values]
        return [value for value in values if value["z"] in self.drawn]


def choose_series(values: Values, *, is_stacked: bool) -> Series | None:
    """The series with the largest values; None where there are no more than colours.

    What is stacked would show too small a whole without the others: they share the last colour.
    """
    sizes: dict[Any, list[float]] = defaultdict(list)
    for value in values:
        sizes[value["z"]].append(value["y"])
    if len(sizes) <= len(PALETTE):
        return None
    room = len(PALETTE) - is_stacked
    size = sum if is_stacked else mean
    largest = set(sorted(sizes, key=lambda name: -size(sizes[name]))[:room])
    drawn = tuple(name for name in sizes if name in largest)
    return Series(drawn, tuple(name for name in sizes if name not in largest), is_stacked)


def mean(numbers: list[float]) -> float:
    """The mean of numbers."""
    return sum(numbers) / len(numbers)
