"""Bins of numbers in aggregates, held against the same bins in Python's Decimal."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import ROUND_FLOOR, Decimal, localcontext
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.lab import Lab, walk

FLIGHTS = """
apiVersion: v3.1.0
kind: DataContract
id: air
name: Air
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: flights
    customProperties:
      - {property: input, value: {server: here, path: flights.csv, mode: snapshot, nullValues: [""]}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: whole, logicalType: integer}
      - {name: small, logicalType: integer, physicalType: smallint}
      - {name: big, logicalType: integer, physicalType: bigint}
      - {name: long, logicalType: integer, physicalType: "numeric(30,0)"}
      - {name: price, logicalType: number, physicalType: "numeric(12,2)"}
      - {name: weight, logicalType: number}
      - {name: "a,b", logicalType: integer}
      - {name: bin(c, logicalType: integer}
      - {name: place, logicalType: string}
      - {name: margin, logicalType: number, classification: restricted}
roles:
  - {role: "air:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
AGGREGATE = "/data/air/v1/flights/aggregate"
SAFE = 2**53 - 1
VALUES: dict[str, list[str]] = {
    "whole": ["", "0", "1", "-1", "249", "250", "-250", "-251", str(SAFE), str(-SAFE), "7"],
    "small": ["", "0", "-32768", "32767", "-1", "100", "99", "-100", "12", "-99", "5"],
    "big": ["", "0", str(-(2**63)), str(2**63 - 1), "1", "2", "9007199254740993", "-9007199254740993", "3", "", ""],
    "long": ["", "0", "9" * 30, "-" + "9" * 30, "1", "-1", "10", "-10", "123456789012345678901", "2", "3"],
    "price": ["", "0.00", "-0.01", "0.30", "9999999999.99", "-9999999999.99", "1.25", "-1.25", "0.1", "5.00", "0.07"],
    "weight": ["", "0.3", "-0.3", "0.30000000000000004", "1e22", "5e-324", "1.7976931348623157e308", "-2.5", "0.1",
               "-1e-300", "4503599627370497.5"],
    "a,b": ["", *map(str, range(10))],
    "bin(c": ["", *map(str, range(10))],
    "place": ["Ghent"] * 11,
    "margin": ["1"] * 11,
}  # fmt: skip


def write_flights(*, stamp: str = "Ghent", backwards: bool = False) -> str:
    """The values as CSV; with another place and in another order, each record is a new one."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", *VALUES])
    rows = [[index, *row] for index, row in enumerate(zip(*(VALUES | {"place": [stamp] * 11}).values(), strict=True))]
    writer.writerows(reversed(rows) if backwards else rows)
    return out.getvalue()


def load_air(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(FLIGHTS)
    lab.ingest("air.flights", write_flights(), "flights.csv")
    assert lab.rows("SELECT record_count FROM decant.datasets") == [(11,)]
    return lab


@pytest.fixture
def air(product: Callable[..., Lab]) -> Lab:
    return product(load_air)


@pytest.fixture
def client(air: Lab) -> Iterator[httpx.Client]:
    with air.serve() as client:
        yield client


def ask(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    """The groups of an aggregate."""
    answer = client.get(AGGREGATE, params=query)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def edge_of(text: str, width: Decimal) -> Decimal | None:
    """The lower edge of the bin that a number lies in."""
    if not text:
        return None
    with localcontext(prec=1000, rounding=ROUND_FLOOR):
        return (Decimal(text) / width).to_integral_value() * width


def as_shown(name: str, edge: Decimal | None) -> Any:
    """An edge as its property's JSON has it, with numbers of many digits still exact."""
    if edge is None:
        return None
    return float(edge) if name == "weight" else edge


def read_shown(name: str, width: Decimal, value: Any) -> Any:
    """What the answer has, after a look at its form."""
    if value is None or name == "weight":
        return value
    if name == "price":
        decimals = -int(Decimal(width).as_tuple().exponent)
        assert isinstance(value, str)
        assert len(value.partition(".")[2]) == max(2, decimals)
    else:
        is_text = name in {"big", "long"} or abs(int(value)) > SAFE
        assert isinstance(value, str if is_text else int)
        assert str(int(value)) == str(value)
    return Decimal(value)


WHOLE_WIDTHS = st.one_of(st.sampled_from([1, 2, 3, 100, 250, 10**30]), st.integers(1, 10**19)).map(Decimal)
WIDTHS = st.one_of(
    st.sampled_from([Decimal(text) for text in ("0.1", "0.125", "0.3", "1e-38", "0.05", "1e37")]),
    st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal(10**12), places=8).map(Decimal.normalize),
    WHOLE_WIDTHS,
)


@pytest.mark.slow
@settings(max_examples=examples(300, 40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(["whole", "small", "big", "long", "price", "weight"]))
def test_bins_are_what_decimal_makes_of_the_same_numbers(
    client: httpx.Client, data: st.DataObject, name: str
) -> None:
    width = data.draw(WIDTHS if name in {"price", "weight"} else WHOLE_WIDTHS)
    text = f"{width:f}"
    found = ask(client, group_by=f"bin({name},{text})", sort=f"bin({name},{text})")
    (column,) = {key for row in found for key in row} - {"count"}
    read = [(read_shown(name, Decimal(text), row[column]), row["count"]) for row in found]
    values = [repr(float(value)) if value and name == "weight" else value for value in VALUES[name]]
    expected = Counter(as_shown(name, edge_of(value, width)) for value in values)
    assert dict(read) == expected
    assert len(read) == len(expected)
    edges = [edge for edge, _ in read if edge is not None]
    assert edges == sorted(edges)
    assert read[-1][0] is None


def test_a_bin_is_named_with_the_shortest_width(client: httpx.Client) -> None:
    found = ask(client, group_by="bin(price,0002.50)", sort="-bin(price,02.5)", limit=1)
    assert found == [{"bin(price,2.5)": "9999999997.50", "count": 1}]


def test_names_that_postgres_would_cut_are_whole(client: httpx.Client) -> None:
    fine, finer = (f"bin(weight,0.{'0' * zeros}1)" for zeros in (36, 37))
    answer = client.get(f"{AGGREGATE}?group_by={fine},{finer}&sort={finer}&limit=1")
    assert answer.json()["data"] == [{fine: -2.5, finer: -2.5, "count": 1}]


@pytest.mark.parametrize("comma", [",", "%2C"])
def test_a_comma_within_a_bin_separates_no_members(client: httpx.Client, comma: str) -> None:
    bins = f"bin(small{comma}100),bin(small{comma}1000)"
    answer = client.get(f"{AGGREGATE}?group_by=place,{bins}&sort=-bin(small{comma}100)&limit=2")
    assert answer.json()["data"] == [
        {"place": "Ghent", "bin(small,100)": 32700, "bin(small,1000)": 32000, "count": 1},
        {"place": "Ghent", "bin(small,100)": 100, "bin(small,1000)": 0, "count": 1},
    ]


def test_names_with_commas_and_brackets_have_bins(client: httpx.Client) -> None:
    found = ask(client, group_by="bin(a,b,5)", sort="bin(a,b,5)")
    assert found == [
        {"bin(a,b,5)": 0, "count": 5},
        {"bin(a,b,5)": 5, "count": 5},
        {"bin(a,b,5)": None, "count": 1},
    ]
    assert len(ask(client, group_by="bin(c")) == 11
    assert ask(client, group_by="bin(bin(c,5)", limit=1) == [{"bin(bin(c,5)": 0, "count": 5}]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("group_by=bin(weight)", "invalid_value"),
        ("group_by=bin(weight", "invalid_value"),
        ("group_by=bin(weight,place", "invalid_value"),
        ("group_by=bin(weight,)", "invalid_value"),
        ("group_by=bin(weight,0)", "invalid_value"),
        ("group_by=bin(weight,0.000)", "invalid_value"),
        ("group_by=bin(weight,-1)", "invalid_value"),
        ("group_by=bin(weight,1e3)", "invalid_value"),
        ("group_by=bin(weight,.5)", "invalid_value"),
        ("group_by=bin(weight,%D9%A3)", "invalid_value"),
        ("group_by=bin(weight,1" + "0" * 38 + ")", "invalid_value"),
        ("group_by=bin(weight,0." + "0" * 38 + "1)", "invalid_value"),
        ("group_by=bin(whole,2.5)", "invalid_value"),
        ("group_by=bin(long,2.5)", "invalid_value"),
        ("group_by=bin(place,1)", "invalid_value"),
        ("group_by=bin(nothing,1)", "unknown_parameter"),
        ("group_by=bin(margin,1)", "unknown_parameter"),
        ("group_by=bins(weight,1)", "unknown_parameter"),
        ("group_by=whole&sort=bin(whole,10)", "invalid_value"),
        ("group_by=bin(whole,10)&sort=bin(whole,10),-bin(whole,010)", "duplicate_parameter"),
    ],
)
def test_what_is_no_bin_is_refused(client: httpx.Client, query: str, code: str) -> None:
    answer = client.get(f"{AGGREGATE}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def test_a_walk_over_bins_gives_each_once(client: httpx.Client) -> None:
    query = "group_by=bin(price,0.1),bin(weight,2)&sort=-bin(weight,2)"
    whole = client.get(f"{AGGREGATE}?{query}").json()["data"]
    assert walk(client, f"{AGGREGATE}?{query}&limit=3") == whole
    following = client.get(f"{AGGREGATE}?{query}&limit=3").json()["next"]
    other = following.replace("bin(price,0.1)", "bin(price,0.2)")
    assert client.get(other).json()["code"] == "invalid_cursor"


@pytest.mark.slow
@pytest.mark.alone
def test_bins_of_a_revision_stay_as_they_were(client: httpx.Client, air: Lab) -> None:
    query = "group_by=bin(weight,0.1),bin(price,0.125),bin(big,7)&measure=count,sum:price&at=1"
    before = client.get(f"{AGGREGATE}?{query}").json()["data"]
    assert len(before) == 11
    air.ingest("air.flights", write_flights(stamp="Zürich", backwards=True), "flights.csv")
    client.headers["Decant-Min-Revision"] = "2"
    # Another limit: the answer of before may be kept.
    assert client.get(f"{AGGREGATE}?{query}&limit=999").json()["data"] == before
