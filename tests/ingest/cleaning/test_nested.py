"""Objects and arrays: every broken part is a reason with its path, and Postgres gets what it can store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.cleaning.check_plan import check_cleaning
from ingest.cleaning.nested_sql import REASONS_MAXIMUM
from tests.support.cleaner import Cleaner, make_csv
from tests.support.examples import examples
from tests.support.lab import Lab

ADDRESS = """{name: address, logicalType: object, logicalTypeOptions: {required: [zip], minProperties: 1},
    properties: [
    {name: zip, logicalType: string, required: true, logicalTypeOptions: {pattern: '^[0-9]{5}$'}},
    {name: floor, logicalType: integer, logicalTypeOptions: {minimum: 0}, enum: [{value: 1}, {value: -1}]},
    {name: since, logicalType: date, logicalTypeOptions: {format: dd.MM.yyyy}},
    {name: "a/b~c", logicalType: boolean},
    {name: phones, logicalType: array, logicalTypeOptions: {maxItems: 2},
     items: {logicalType: string, logicalTypeOptions: {maxLength: 5}}},
    {name: geo, logicalType: object, properties: [{name: lat, logicalType: number, required: true}]}]}""".replace(
    "\n", " "
)


@pytest.fixture
def cleaner(tmp_path: Path) -> Cleaner:
    return Cleaner(tmp_path)


def check(cleaner: Cleaner, prop: str, value: Any) -> list[tuple[str, str, str | None]]:
    """The reasons against a record with this value, none where it is accepted; a text is taken as it is."""
    dataset = cleaner.dataset(prop)
    text = value if isinstance(value, str) else json.dumps(value)
    found = cleaner.clean(dataset, make_csv(("id", dataset.properties and list(dataset.properties)[1]), ("1", text)))
    return found.reasons(2) if found.rejected else []


def test_the_statement_of_nested_parts_runs(cleaner: Cleaner) -> None:
    assert check_cleaning(cleaner.dataset(ADDRESS)) == []


@pytest.mark.parametrize(
    "value",
    [
        {"zip": "12345"},
        {
            "zip": "12345",
            "floor": 1,
            "since": "31.12.2013",
            "a/b~c": True,
            "phones": ["1", None],
            "geo": {"lat": 1.5},
        },
        {"zip": "12345", "floor": None, "since": None, "phones": None, "geo": None, "unknown": [1]},
        {"zip": "12345", "phones": []},
    ],
)
def test_parts_that_keep_their_rules_are_accepted(cleaner: Cleaner, value: Any) -> None:
    assert check(cleaner, ADDRESS, value) == []


@pytest.mark.parametrize(
    ("value", "reasons"),
    [
        (
            {},
            [
                ("address", "minProperties", "{}"),
                ("address.zip", "required", None),
            ],
        ),
        ({"zip": None}, [("address.zip", "required", None)]),
        ({"zip": 12345}, [("address.zip", "type", "12345")]),
        ({"zip": "1234"}, [("address.zip", "pattern", "1234")]),
        ({"zip": "12345", "floor": "1"}, [("address.floor", "type", "1")]),
        ({"zip": "12345", "floor": 1.5}, [("address.floor", "type", "1.5")]),
        ({"zip": "12345", "floor": True}, [("address.floor", "type", "true")]),
        ({"zip": "12345", "floor": -2}, [("address.floor", "minimum", "-2"), ("address.floor", "enum", "-2")]),
        ({"zip": "12345", "since": "2013-12-31"}, [("address.since", "type", "2013-12-31")]),
        ({"zip": "12345", "a/b~c": "true"}, [("address.a/b~c", "type", "true")]),
        ({"zip": "12345", "phones": {"0": "1"}}, [("address.phones", "type", '{"0":"1"}')]),
        (
            {"zip": "12345", "phones": ["1", 2, "123456"]},
            [
                ("address.phones", "maxItems", '["1",2,"123456"]'),
                ("address.phones[1]", "type", "2"),
                ("address.phones[2]", "maxLength", "123456"),
            ],
        ),
        ({"zip": "12345", "geo": {}}, [("address.geo.lat", "required", None)]),
        ({"zip": "12345", "geo": [1]}, [("address.geo", "type", "[1]")]),
        # Postgres keeps the last of two, DuckDB finds the first.
        ('{"zip": "12345", "zip": 5}', [("address", "type", None)]),
        ('{"zip": "12345", "geo": {"lat": 1, "lat": "x"}}', [("address.geo", "type", None)]),
        ('["zip"]', [("address", "type", '["zip"]')]),
    ],
)
def test_every_broken_part_is_a_reason_with_its_path_and_value(
    cleaner: Cleaner, value: Any, reasons: list[tuple[str, str, str | None]]
) -> None:
    assert check(cleaner, ADDRESS, value) == reasons


def test_a_name_that_must_be_there_may_be_null(cleaner: Cleaner) -> None:
    prop = "{name: a, logicalType: object, logicalTypeOptions: {required: [x, y], maxProperties: 2}}"
    assert check(cleaner, prop, {"x": None, "y": 1}) == []
    assert check(cleaner, prop, {"y": 1, "z": 2}) == [("a.x", "required", None)]
    assert check(cleaner, prop, {"x": 1, "y": 1, "z": 2}) == [("a", "maxProperties", '{"x": 1, "y": 1, "z": 2}')]


MAP = """{name: scores, logicalType: map, map: {
    key: {logicalType: string, logicalTypeOptions: {pattern: '^[a-z/~]+$'}},
    value: {logicalType: integer, required: true, logicalTypeOptions: {maximum: 9}}}}""".replace("\n", " ")


@pytest.mark.parametrize(
    ("value", "reasons"),
    [
        ({}, []),
        ({"a": 1, "b/~c": 2}, []),
        ({"A": 1}, [("scores.A", "pattern", "A")]),
        (
            {"a": 10, "b": "x", "/": None},
            [("scores.a", "maximum", "10"), ("scores.b", "type", "x"), ("scores./", "required", None)],
        ),
    ],
)
def test_a_map_is_checked_key_by_key(cleaner: Cleaner, value: Any, reasons: list[Any]) -> None:
    assert check(cleaner, MAP, value) == reasons


def test_a_vector_has_its_dimensions_in_numbers(cleaner: Cleaner) -> None:
    prop = "{name: v, logicalType: vector, logicalTypeOptions: {dimensions: 3, elementType: float32}}"
    assert check(cleaner, prop, [1, 2.5, -3e5]) == []
    assert check(cleaner, prop, [1, 2]) == [("v", "minItems", "[1, 2]")]
    assert check(cleaner, prop, [1, "x", 3]) == [("v[1]", "type", "x")]


ARRAYS = [
    (
        "text[]",
        ["a", 'q"u\\ote', "", "a,b", "{}", "NULL", None, "ü\n"],
        ["a", 'q"u\\ote', "", "a,b", "{}", "NULL", None, "ü\n"],
    ),
    ("integer[]", [1, "-2", None], [1, -2, None]),
    ("bigint[]", [2**60], [2**60]),
    ("double precision[]", [1.5, "1e3"], [1.5, 1000.0]),
    ("boolean[]", [True, "0"], [True, False]),
    ("numeric(6,2)[]", [1.25, "1000"], ["1.25", "1000.00"]),
    ("date[]", ["2013-01-31"], ["2013-01-31"]),
    ("uuid[]", ["6f1e2d3c-0000-4000-8000-0000000000FF"], ["6f1e2d3c-0000-4000-8000-0000000000ff"]),
    ("timestamptz[]", ["2013-01-31T12:00:00+02:00"], ["2013-01-31T10:00:00+00:00"]),
]


@pytest.mark.parametrize(
    ("physical", "item", "path"),
    [
        ("integer[]", "x", "a[1]"),
        ("date[]", "2013-02-30", "a[1]"),
        ("smallint[]", 40000, "a[1]"),
        ("uuid[]", {"b": 1}, "a[1]"),
    ],
)
def test_an_item_that_is_no_value_of_the_array_is_a_reason(
    cleaner: Cleaner, physical: str, item: Any, path: str
) -> None:
    prop = f"{{name: a, logicalType: array, physicalType: '{physical}'}}"
    value = [None, item]
    shown = item if isinstance(item, str) else json.dumps(item, separators=(",", ":"))
    assert check(cleaner, prop, value) == [(path, "type", shown)]


def test_rules_of_an_array_and_of_its_items_hold_in_a_postgres_array(cleaner: Cleaner) -> None:
    prop = (
        "{name: a, logicalType: array, physicalType: 'text[]', logicalTypeOptions: {maxItems: 2, uniqueItems: true},"
        " items: {logicalType: string, required: true, logicalTypeOptions: {minLength: 2}}}"
    )
    assert check(cleaner, prop, ["ab", "cd"]) == []
    assert check(cleaner, prop, ["ab", "ab", None]) == [
        ("a", "maxItems", '["ab", "ab", null]'),
        ("a", "uniqueItems", '["ab", "ab", null]'),
        ("a[2]", "required", None),
    ]
    assert check(cleaner, prop, ["a", 5]) == [("a[0]", "minLength", "a"), ("a[1]", "minLength", "5")]


def test_a_part_with_very_many_faults_lists_the_first_thousand(cleaner: Cleaner) -> None:
    reasons = check(cleaner, "{name: a, logicalType: array, items: {logicalType: string}}", [1] * 5000)
    assert len(reasons) == REASONS_MAXIMUM + 1
    assert reasons[-1] == ("a", "more", None)


def test_a_list_or_struct_from_a_transform_is_json(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(
        "{name: tags, logicalType: array, physicalType: 'text[]', transformLogic: \"b.string_split(';')\"}",
        "{name: pair, logicalType: object, transformLogic: \"{'first': b, 'n': length(b)}\"}",
    )
    assert check_cleaning(dataset) == []
    found = cleaner.clean(dataset, "id,b\n1,x;y\n")
    assert found.accepted == [["1", '{"x","y"}', '{"first":"x;y","n":3}']]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["zip", "floor", "phones", "geo", "lat", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.slow
def test_whatever_an_object_holds_it_is_accepted_or_has_reasons(cleaner: Cleaner) -> None:
    dataset = cleaner.dataset(ADDRESS)

    @settings(max_examples=examples(25, 12), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(JSON, min_size=20, max_size=20))
    def account(values: list[Any]) -> None:
        rows = [(str(number), json.dumps(value)) for number, value in enumerate(values)]
        found = cleaner.clean(dataset, make_csv(("id", "address"), *rows))
        assert all(found.rejected.values())
        assert len(found.accepted) + len(found.rejected) == len(values)

    account()


CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shelf
version: 1.0.0
status: active
servers: [{server: here, type: local, path: "${DECANT_DATA}", format: csv}]
schema:
  - name: things
    customProperties:
      - {property: input, value: {server: here, path: things.csv}}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
%s
roles: [{role: "shelf:read", access: read, customProperties: [{property: anonymous, value: true}]}]
"""


def test_arrays_are_stored_as_arrays_and_answered_as_json(tmp_path: Path, make_lab: Any) -> None:
    columns = [f"a{number}" for number in range(len(ARRAYS))]
    lines = [
        f"      - {{name: {column}, logicalType: array, physicalType: '{row[0]}'}}"
        for column, row in zip(columns, ARRAYS, strict=True)
    ]
    lab: Lab = make_lab(CONTRACT % "\n".join([*lines, "      - " + ADDRESS]))
    address = {"zip": "12345", "geo": {"lat": 1.5}}
    values = [json.dumps(row[1]) for row in ARRAYS]
    report = lab.ingest(
        "shelf.things", make_csv(("id", *columns, "address"), ("1", *values, json.dumps(address))), "things.csv"
    )
    assert report.status == "published", report
    assert report.outcome is not None
    assert (report.outcome.accepted, report.outcome.rejected) == (1, 0)
    types = lab.rows("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'things'")
    assert {kind for name, kind in types if name in columns} == {"ARRAY"}
    with lab.serve() as client:
        (record,) = client.get("/data/shelf/v1/things/records").json()["data"]
        document = client.get("/openapi.json").json()
    shown = [[str(item) for item in row[2]] if row[0] == "bigint[]" else row[2] for row in ARRAYS]
    assert [record[column] for column in columns] == shown
    assert record["address"] == address
    schema = document["components"]["schemas"]["ShelfV1Things"]["properties"]
    assert schema["a0"] == {"type": ["array", "null"], "items": {"type": ["string", "null"]}}
    assert schema["address"]["properties"]["geo"]["properties"]["lat"] == {"type": "number", "format": "double"}
    assert schema["address"]["required"] == ["zip"]
