"""Every type, operator and odd value: a filter compares with just what was written, or refuses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

from api.http.problems import Problem
from api.query.parameters import Validator
from catalog.types.filter_operators import operators_of
from tests.support.lab import Lab

# property -> (ODCS, stored values as they are written raw, what of ODD it takes and as what value)
ID = "6f1e2d3c-0000-4000-8000-0000000000ff"
BIG = 2**53 + 1
ZEROS = {"0": 0, "-0": 0, "0000000000000000000000000007": 7}
WHOLE = {**ZEROS, "7": 7, "40000": 40000}
LONG = WHOLE | {str(BIG): BIG, "9223372036854775807": 2**63 - 1}
DECIMAL = {**ZEROS, "7": 7, "1.125": Decimal("1.125"), "1.1250000000000": Decimal("1.125"), "1e2": 100, "-1e-3": -1}
DECIMAL["-1e-3"] = Decimal("-0.001")
FLOAT = {**LONG, "1.125": 1.125, "1.1250000000000": 1.125, "1.1251": 1.1251, "1e2": 100.0, "1e30": 1e30}
FLOAT |= {"-1e-3": -0.001, "0.0000001": 1e-7, "9" * 300: float("9" * 300), "1e-400": 0.0}
FLOAT |= {str(BIG): float(BIG), "9223372036854775807": float(2**63), "9223372036854775808": float(2**63)}
TRUTH = {"true": True, "TRUE": True, "0": False}
DAY = {"2020-02-29": date(2020, 2, 29), "0001-01-01": date(1, 1, 1), "9999-12-31": date(9999, 12, 31)}
CLOCK = {"17:30": time(17, 30), "23:59:59.999999": time(23, 59, 59, 999999)}
LOCAL = {"2020-02-29T17:30:00": datetime(2020, 2, 29, 17, 30, tzinfo=UTC).replace(tzinfo=None)}
TIMESTAMP = {text: value.replace(tzinfo=UTC) for text, value in LOCAL.items()}
TIMESTAMP |= {"2020-02-29T19:30:00+02:00": datetime(2020, 2, 29, 17, 30, tzinfo=UTC)}
ODD = [
    *FLOAT,
    *TRUTH,
    *DAY,
    *CLOCK,
    *TIMESTAMP,
    "1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "",
    " ",
    "0x10",
    "1_0",
    "٧",
    "2021-02-29",
    "0000-01-01",
    "10000-01-01",
    "infinity",
    "24:00",
    "9999-12-31T23:59:59-01:00",
    "2020-02-29T17:30:00.1234567Z",
    ID,
    ID.upper(),
    "null",
    "{}",
    "\\",
    "é",
]
TYPES: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "small": ("logicalType: integer, physicalType: smallint", ["7", "0"], ZEROS | {"7": 7}),
    "middle": ("logicalType: integer, physicalType: integer", ["7", "40000"], WHOLE),
    "plain": ("logicalType: integer", ["7", "40000"], LONG),
    "big": ("logicalType: integer, physicalType: bigint", [str(BIG), "9223372036854775807"], LONG),
    "wide": (
        "logicalType: integer, physicalType: numeric(20)",
        [str(BIG), "7"],
        LONG | {"9223372036854775808": 2**63, "1e2": 100},
    ),
    "number": ("logicalType: number", ["1.125", "0"], FLOAT),
    "exact": ("logicalType: number, physicalType: 'numeric(6,3)'", ["1.125", "7"], DECIMAL),
    "truth": ("logicalType: boolean", ["true", "false"], TRUTH),
    "day": ("logicalType: date", ["2020-02-29", "9999-12-31"], DAY),
    "clock": ("logicalType: time", ["17:30", "00:00"], CLOCK),
    "moment": ("logicalType: timestamp", ["2020-02-29T17:30:00Z", "0001-01-01T00:00:00Z"], TIMESTAMP),
    "local": (
        "logicalType: timestamp, physicalType: timestamp",
        ["2020-02-29T17:30:00", "0001-01-01T00:00:00"],
        LOCAL,
    ),
    "ident": ("logicalType: string, physicalType: uuid", [ID], {ID: UUID(ID), ID.upper(): UUID(ID)}),
    "text": ("logicalType: string", ["7", "é"], {text: text for text in ODD}),
}
MODEL: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda stored, value: stored == value,
    "ne": lambda stored, value: stored != value,
    "in": lambda stored, value: stored == value,
    "gt": lambda stored, value: stored > value,
    "gte": lambda stored, value: stored >= value,
    "lt": lambda stored, value: stored < value,
    "lte": lambda stored, value: stored <= value,
    "has": lambda stored, value: stored == value,
}
HEAD = """
apiVersion: v3.1.0
kind: DataContract
id: odd
name: Odd
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: json}
schema:
  - name: values
    customProperties:
      - {property: input, value: {server: here, path: values.json, mode: snapshot, nullValues: ["NULL"]}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
"""
TAIL = """
roles:
  - {role: "odd:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
ARRAYS = {
    "small": "smallint",
    "middle": "integer",
    "big": "bigint",
    "number": "double precision",
    "exact": "numeric(6,3)",
    "truth": "boolean",
    "day": "date",
    "clock": "time",
    "moment": "timestamptz",
    "local": "timestamp",
    "ident": "uuid",
    "text": "text",
}


def write_contract() -> str:
    """A property of every type, and of an array of each that has one."""
    lines = [f"      - {{name: {name}, {odcs}}}\n" for name, (odcs, _, _) in TYPES.items()]
    lines += [
        f"      - {{name: {name}_list, logicalType: array, physicalType: '{physical}[]'}}\n"
        for name, physical in ARRAYS.items()
    ]
    return HEAD + "".join(lines) + TAIL


def write_records() -> str:
    """A record for each stored value of each type, alone and as the one item of an array."""
    records: list[dict[str, Any]] = []
    for name, (_, stored, _) in TYPES.items():
        for text in stored:
            listed = {f"{name}_list": [text]} if name in ARRAYS else {}
            records.append({"id": len(records), name: text} | listed)
    return json.dumps(records)


def read_stored(name: str, text: str) -> Any:
    """The value of a stored text, by the tables above; a few are in no table."""
    known = {"false": False, "00:00": time(0), "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC)}
    known |= {"0001-01-01T00:00:00": datetime(1, 1, 1, tzinfo=UTC).replace(tzinfo=None)}
    known |= {"2020-02-29T17:30:00Z": TIMESTAMP["2020-02-29T17:30:00"]}
    return known[text] if text in known else TYPES[name][2][text]


@pytest.mark.slow
def test_a_value_that_the_type_cannot_hold_is_refused_and_any_other_is_compared_exactly(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(write_contract())
    assert lab.ingest("odd.values", write_records(), "values.json").status == "published"
    validator = Validator(lab.dataset("odd.values"))
    ids = iter(range(1000))
    stored = {name: {next(ids): read_stored(name, text) for text in texts} for name, (_, texts, _) in TYPES.items()}
    asked = 0
    with lab.serve() as client:
        for name in (*TYPES, *(f"{kind}_list" for kind in ARRAYS)):
            kind = name.removesuffix("_list")
            taken = TYPES[kind][2]
            for operator in operators_of(lab.dataset("odd.values").properties[name].type):
                if operator not in MODEL:
                    continue
                for text in ODD:
                    query = f"{name}[{operator}]={quote(text, safe='')}"
                    if text not in taken:
                        with pytest.raises(Problem) as refused:
                            validator.parse(query.encode())
                        assert refused.value.code == "invalid_value", query
                        continue
                    if kind == "text" and operator not in {"eq", "in", "has", "ne"}:
                        continue  # the collation's order is the database's business
                    value = taken[text]
                    expected = [n for n, known in stored[kind].items() if MODEL[operator](known, value)]
                    answer = client.get(f"/data/odd/v1/values/records?{query}&properties=id")
                    assert answer.status_code == 200, (query, answer.text)
                    assert [record["id"] for record in answer.json()["data"]] == expected, query
                    asked += 1
        for raw in ("%00", "%ED%A0%80", "%FF", "%C0%80"):
            for name in TYPES:
                answer = client.get(f"/data/odd/v1/values/records?{name}={raw}")
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid_text")
        refused_key = client.get("/data/odd/v1/values/records/1e30")
        assert (refused_key.status_code, refused_key.json()["code"]) == (404, "record_not_found")
    assert asked > 300


def test_an_export_compares_with_the_lowest_values_as_a_page_does(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(write_contract())
    assert lab.ingest("odd.values", write_records(), "values.json").status == "published"
    asked = 0
    with lab.serve() as client:
        for name, bits in {"small": 16, "middle": 32, "plain": 64, "big": 64}.items():
            lowest = -(2 ** (bits - 1))
            for operator in operators_of(lab.dataset("odd.values").properties[name].type):
                if operator not in MODEL:
                    continue
                query = f"{name}[{operator}]={lowest}&properties=id"
                page = client.get(f"/data/odd/v1/values/records?{query}")
                export = client.get(f"/data/odd/v1/values/export?{query}&format=ndjson")
                assert (page.status_code, export.status_code) == (200, 200), (query, export.text)
                found = len(TYPES[name][1]) if operator in {"ne", "gt", "gte"} else 0
                assert len(page.json()["data"]) == found, query
                assert [json.loads(line) for line in export.text.splitlines()] == page.json()["data"], query
                asked += 1
    assert asked == 28
