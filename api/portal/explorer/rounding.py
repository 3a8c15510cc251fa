"""Measures with as many digits as say something; the exact number stays within reach. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from api.datasets.aggregates_parameters import NUMERIC_MEASURES

# Decimals of a measure: four more than an integer has, and than a price with two has.
DECIMALS = {"integer": 4, "number": 6}
PLAIN = re.compile(r"(-?)([1-9][0-9]*)(\.[0-9]+)?")
SIGNIFICANT = 4  # digits that a number below one keeps, however small it is


def decimals_of(measures: Sequence[str], names: Sequence[str], types: dict[str, str]) -> dict[str, int]:
    """How many decimals the columns of measures show, by their names; those that make no new digits show them all."""
    found = {}
    for measure, name in zip(measures, names, strict=False):
        function, _, of = measure.partition(":")
        if function in NUMERIC_MEASURES and types.get(of) in DECIMALS:
            found[name] = DECIMALS[types[of]]
    return found


def round_measure(value: Any, decimals: int) -> str | None:
    """The number of that many decimals; None where the value has no more, or is no finite number."""
    if isinstance(value, bool):
        return None
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    if not exact.is_finite():
        return None
    if exact:
        decimals = max(decimals, SIGNIFICANT - 1 - exact.adjusted())
    if -int(exact.as_tuple().exponent) <= decimals:
        return None
    with_zeros = f"{exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN):f}"
    return with_zeros.rstrip("0").rstrip(".")


def separate(text: str, least: int) -> str:
    """A number with separated thousands where it has at least so many digits before its point."""
    found = PLAIN.fullmatch(text)
    return f"{found[1]}{int(found[2]):,}{found[3] or ''}" if found and len(found[2]) >= least else text


def show_measured(value: Any, decimals: int | None, separated_from: int | None) -> str | None:
    """A number as a column shows it, of few digits and separated; None where it is shown as it is."""
    if value is None or isinstance(value, bool):
        return None
    rounded = round_measure(value, decimals) if decimals else None
    text = rounded or str(value)
    separated = separate(text, separated_from) if separated_from else text
    return separated if separated != str(value) else None
