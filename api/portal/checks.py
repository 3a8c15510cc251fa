"""Checks: what they are called, and how many of a load's passed. Pure.

A check is what a load measured of a rule about the dataset as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

NAMED = re.compile(r"(\w+)\((.+)\)")  # a rule of a property: nullValues(tailnum)
NAMES = {
    "raw records": "Raw records of the load",
    "minRecords": "Raw records of the load",
    "maxRejected": "Share of rejected records",
    "maxDeleted": "Share of deleted records",
    "rowCount": "Number of records",
}
OF_PROPERTY = {
    "nullValues": "no value",
    "missingValues": "missing values",
    "invalidValues": "invalid values",
    "duplicateValues": "repeated values",
}


@dataclass(frozen=True)
class Check:
    """One rule as a load measured it, with its name in words."""

    measured: dict[str, Any]
    prop: str | None  # that it is about; None: the whole dataset

    @property
    def name(self) -> str:
        """What it looks at, in words; the name that the contract gives it, where that is its own."""
        return name_check(self.measured["rule"], within=self.prop)

    @property
    def result(self) -> str:
        """`passed`, `failed`, or `warning`: it failed, and withholds nothing."""
        return result_of(self.measured)


@dataclass(frozen=True)
class Tally:
    """How the checks of a load ended."""

    passed: int
    failed: int
    warnings: int


def name_check(rule: str, *, within: str | None = None) -> str:
    """A rule in words; `within` is the property that is named beside it, and not again."""
    named = NAMED.fullmatch(rule)
    if named is None or named[1] not in OF_PROPERTY:
        return NAMES.get(rule, rule)
    words = OF_PROPERTY[named[1]]
    return words.capitalize() if named[2] == within else f"{named[2]}: {words}"


def result_of(measured: dict[str, Any]) -> str:
    """How a check ended, in one word."""
    if measured["passed"]:
        return "passed"
    return "failed" if measured["severity"] == "error" else "warning"


def list_checks(rules: Iterable[dict[str, Any]], names: Iterable[str]) -> list[Check]:
    """The checks of a load, those that did not pass first; `names` are the properties of the dataset."""
    known = set(names)
    checks = []
    for rule in rules:
        named = NAMED.fullmatch(rule["rule"])
        checks.append(Check(rule, named[2] if named and named[2] in known else None))
    return sorted(checks, key=lambda check: ("failed", "warning", "passed").index(check.result))


def count_checks(checks: Sequence[Check]) -> Tally:
    """How many checks ended in which way."""
    results = [check.result for check in checks]
    return Tally(results.count("passed"), results.count("failed"), results.count("warning"))
