"""Failing gates in words."""

from __future__ import annotations

import pytest

from api.portal.console.gates import explain_gate

LOAD = {"product": "a b", "major": 1, "dataset": "counts"}
NULLS = "/browse/a%20b/v1/counts/explore?lanes[null]=true"


@pytest.mark.parametrize(
    ("rule", "measured", "bound", "words", "place", "current"),
    [
        (
            *("nullValues(lanes)", 18.181818, "< 10 %"),
            *("18.18 % of the records after this load have no value in lanes.", ".lanes", NULLS),
        ),
        ("invalidValues(kind)", 3.0, "= 0", "3 records have a value in kind that is not valid.", ".kind", None),
        ("duplicateValues(<b>)", None, "= 0", "", ".%3Cb%3E", None),
        ("rowCount", 5, "> 10", "This is the number of records that the dataset would have.", "", None),
        ("own_rule", 1, "= 0", "", "", None),
        ("own(rule)", 1, "= 0", "", "", None),
    ],
)
def test_a_failing_gate_says_what_it_measured_and_where_it_stands(
    rule: str, measured: float | None, bound: str, words: str, place: str, current: str | None
) -> None:
    gate = {"rule": rule, "measured": measured, "bound": bound}
    found = explain_gate(gate, LOAD)
    assert found.words == words
    assert found.contract == f"/browse/a%20b/v1/contract#counts{place}"
    assert found.current == current
