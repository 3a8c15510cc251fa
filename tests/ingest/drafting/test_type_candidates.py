"""Types that a column may turn out to have."""

from __future__ import annotations

import itertools
import re

import pytest

from ingest.drafting.type_candidates import MARKS, list_candidates
from runtime.duckdb_connection import open_duckdb
from runtime.duckdb_quoting import quote_text

DAYS = (
    *(
        "2020-01-31",
        "2020/01/31",
        "2020 01 31",
        "20200131",
        "2020\u221201\u221231",
        "31.01.2020",
        "1.2.2020",
        "31/1/2020",
    ),
    *("Jan 31 2020", "Jan 3, 2020", "January 3, 2020", "31 January 2020", "31-Jan-2020", "31/Jan/2020", "31 01 2020"),
)
CLOCKS = ("", " 10:00", " 10:00:59", " 1000", " 10.00", " 10-00", " 1:00 PM", " 01:02:03 AM", "T10:00:00Z")
WORDS = ("infinity", "-Infinity", "inf", "NaN", "epoch", "today", "now", "true", "e")
IDENTIFIER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
NUMBERS = ("7", "-1.50", "1e5", "10-00", "10:00", "\uff11\uff12", "\u0663", "12:00:01", "")


def test_no_text_without_its_marks_is_of_a_type() -> None:
    days = map("".join, itertools.product(DAYS, CLOCKS))
    texts = [*days, *WORDS, IDENTIFIER, *NUMBERS]
    rows = ", ".join(f"({quote_text(text)})" for text in texts)
    candidates = list_candidates()
    fits = ", ".join(f"({candidate.value('t')}) IS NOT NULL" for candidate in candidates)
    with open_duckdb() as engine:
        found = engine.execute(f"SELECT t, {fits} FROM (VALUES {rows}) AS texts(t)").fetchall()
    fitting = [(text, each) for text, *fit in found for each, is_one in zip(candidates, fit, strict=True) if is_one]
    assert {each.logical for _, each in fitting} == {each.logical for each in candidates}
    for text, candidate in fitting:
        missing = [mark for mark in candidate.marks if not re.search(MARKS[mark], text)]
        assert not missing, (text, candidate)


@pytest.mark.parametrize(
    ("file_format", "marks"),
    [(None, {"digit"}), ("dd.MM.yyyy", {"digit", "."}), ("yyyy/MM/dd", {"digit", "/"}), ("MMM d, yyyy", {"digit"})],
)
def test_a_date_has_digits_and_what_stands_between_them(file_format: str | None, marks: set[str]) -> None:
    dates = [each for each in list_candidates() if each.logical == "date"]
    assert {each.marks for each in dates if each.options.get("format") == file_format} == {frozenset(marks)}
