"""Usage rows of the API, summed as pages show them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from api.http.problems import KINDS

COUNTS = ("requests", "refused", "bytes")
Rows = list[dict[str, Any]]


def sum_by(rows: Rows, key: Callable[[dict[str, Any]], Hashable]) -> Rows:
    """A row for each value of the key, with the counts of all its rows and the other members of the first."""
    sums: dict[Hashable, dict[str, Any]] = {}
    for row in rows:
        known = sums.setdefault(key(row), row | dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            known[name] += row[name]
    return list(sums.values())


def sum_days(rows: Rows) -> Rows:
    """The usage by day, the latest first."""
    return sorted(sum_by(rows, lambda row: row["day"]), key=lambda row: str(row["day"]), reverse=True)


def sum_places(rows: Rows) -> Rows:
    """The usage by dataset and operation, the most asked first."""
    places = sum_by(rows, lambda row: (row["product"], row["major"], row["dataset"], row["operation"]))
    return sorted(places, key=most_asked)


def sum_principals(rows: Rows) -> Rows:
    """The usage by caller, the most first."""
    return sorted(sum_by(rows, lambda row: row["principal"]), key=most_asked)


def most_asked(row: dict[str, Any]) -> int:
    """Sorts by the number of requests, the most first."""
    return -int(row["requests"])


def sum_refusals(rows: Rows) -> list[tuple[str, str, int]]:
    """The refused requests by problem: (code, meaning, requests), the most frequent first."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row["refusals"])
    return [(code, KINDS[code].meaning if code in KINDS else "", count) for code, count in counts.most_common()]
