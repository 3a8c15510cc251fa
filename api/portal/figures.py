"""The figures of a property's profile, as pages draw them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

SPARK_WIDTH, SPARK_HEIGHT = 88, 22


@dataclass(frozen=True)
class Bar:
    """A bar of a small histogram, in units of its drawing."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Figures:
    """What the profile says of one property."""

    profile: dict[str, Any]
    total: int

    @property
    def nulls(self) -> int:
        """How many records have no value."""
        return int(self.profile.get("nulls") or 0)

    @property
    def is_histogram(self) -> bool:
        """Whether the parts are neighbouring intervals; otherwise they are frequent values."""
        return bool(self.profile.get("histogram"))

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The intervals, or the most frequent values, each with its number of records."""
        return self.profile.get("histogram") or self.profile.get("most_frequent") or []

    @property
    def bars(self) -> list[Bar]:
        """The parts as bars of a small drawing; the least of them can still be seen."""
        parts = self.parts
        most = max((part["records"] for part in parts), default=0)
        if not most:
            return []
        gap = 0 if self.is_histogram else 1.5
        width = SPARK_WIDTH / max(len(parts), 4)
        heights = [max(part["records"] / most * SPARK_HEIGHT, 1 if part["records"] else 0) for part in parts]
        return [
            Bar(round(index * width, 1), round(SPARK_HEIGHT - height, 1), round(width - gap, 1), round(height, 1))
            for index, height in enumerate(heights)
        ]

    def show(self, part: dict[str, Any]) -> str:
        """An interval in words."""
        return f"{show_bound(part['from'])} to {show_bound(part['to'])}"

    @property
    def spoken(self) -> str:
        """What the drawing shows, for those who do not see it."""
        parts = self.parts
        if not parts:
            return "no distribution"
        if self.is_histogram:
            top = max(parts, key=lambda part: part["records"])
            return f"most values lie between {show_bound(top['from'])} and {show_bound(top['to'])}"
        return "most frequent: " + ", ".join(str(part["value"]) for part in parts[:3])


def figures_of(profile: dict[str, Any] | None) -> dict[str, Figures]:
    """The figures of each property, by name; empty without a profile."""
    if profile is None:
        return {}
    return {each["property"]: Figures(each, profile["record_count"]) for each in profile["data"]}


def show_bound(value: Any) -> str:
    """A bound of an interval: a day and the time of day where it is a moment, a number of few digits."""
    if isinstance(value, int | float):
        return show_number(value)
    text = str(value)
    try:
        moment = datetime.fromisoformat(text) if text[4:5] == "-" else None
    except ValueError:
        moment = None
    if moment is None:
        return text
    clock = f", {moment:%H:%M}" if moment.hour or moment.minute else ""
    return f"{moment.day} {moment:%b %Y}{clock}"


def show_number(value: float) -> str:
    """A number with separators, of no more digits than can be told apart."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.4g}"
