"""Arrow columns as cells of CSV, against a plain reading of the rules, one value at a time."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pyarrow as pa
import pytest

from api.exports.formats.arrow_columns import csv_lines
from catalog.model.dataset import Property
from catalog.types.type_choice import resolve_type

MARKS = [
    "",
    "a",
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    ",",
    '"',
    "'",
    " ",
    "é",
    "漢",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
]
TEXTS = ["".join(parts) for parts in product(MARKS, repeat=3)]


def make_property(name: str, logical: str, physical: str | None = None) -> Property:
    kind, _ = resolve_type(logical, physical, {})
    return Property(name, name, kind, logical, False, False, (), "", (), "public", None, (name,), False, {})


def spell(text: str | None) -> str:
    """A text as a cell, by the rules."""
    if text is None:
        return ""
    safe = f"'{text}" if text[:1] in set("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20") - {""} else text
    if safe == "" or set(safe) & set('",\r\n'):
        return '"' + safe.replace('"', '""') + '"'
    return safe


def lines_of(properties: list[Property], *columns: Any) -> str:
    batch = pa.RecordBatch.from_arrays(list(columns), names=[prop.name for prop in properties])
    return bytes(csv_lines(batch, properties)).decode()


TEXT = make_property("label", "string")
NUMBER = make_property("id", "integer")


@pytest.mark.parametrize("mark", MARKS)
def test_every_text_is_spelled_by_the_rules_whatever_else_its_batch_holds(mark: str) -> None:
    # One kind of trouble in a batch, or none: what is not there must not be needed for what is.
    texts = [None, *(text for text in TEXTS if set(text) <= {mark, "a", "é"})]
    expected = "".join(f"{number},{spell(text)}\r\n" for number, text in enumerate(texts))
    assert lines_of([NUMBER, TEXT], pa.array(range(len(texts))), pa.array(texts, pa.string())) == expected


def test_texts_with_every_trouble_at_once_are_spelled_by_the_rules() -> None:
    text = lines_of([TEXT, NUMBER], pa.array(TEXTS), pa.array(range(len(TEXTS))))
    assert text == "".join(f"{spell(value)},{number}\r\n" for number, value in enumerate(TEXTS))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [row[0].removeprefix("'") for row in rows] == [value.removeprefix("'") for value in TEXTS]


def test_a_slice_of_a_batch_holds_its_own_texts_alone() -> None:
    whole = pa.array(["a,b", "plain", '"', "=1"])
    assert lines_of([TEXT], whole.slice(1, 1)) == "plain\r\n"
    assert lines_of([TEXT], whole.slice(3, 1)) == "'=1\r\n"


def test_numbers_below_zero_are_never_taken_for_formulas() -> None:
    numeric = make_property("price", "number", "numeric(8,2)")
    assert lines_of([NUMBER, numeric], pa.array([-1, None]), pa.array(["-2.50", None])) == "-1,-2.50\r\n,\r\n"


@pytest.mark.parametrize("place", [0, 1])
def test_null_is_nothing_in_any_place_and_in_a_column_of_nothing_else(place: int) -> None:
    columns = [pa.array([None, None], pa.string()), pa.array([1, 2])]
    properties = [TEXT, NUMBER]
    if place:
        columns.reverse()
        properties.reverse()
    assert lines_of(properties, *columns) == ("1,\r\n2,\r\n" if place else ",1\r\n,2\r\n")
    assert lines_of([TEXT], columns[place]) == "\r\n\r\n"


@pytest.mark.parametrize("zone", ["UTC", None])
def test_timestamps_have_a_fraction_only_where_there_is_one(zone: str | None) -> None:
    kind = make_property("seen", "timestamp", None if zone else "timestamp")
    timestamps = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 900_000, tzinfo=UTC),
        datetime(2013, 1, 31, 17, 30, 0, 123_456, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ]
    for chosen in (timestamps, [timestamps[0], None, timestamps[3]]):
        column = pa.array([m and m.replace(tzinfo=None) for m in chosen], pa.timestamp("us")).cast(
            pa.timestamp("us", zone)
        )
        expected = []
        for timestamp in chosen:
            text = timestamp.replace(tzinfo=None).isoformat() if timestamp else ""
            text = text.rstrip("0") if "." in text else text
            expected.append(text + ("+00:00" if zone and text else "") + "\r\n")
        assert lines_of([kind], column) == "".join(expected)
