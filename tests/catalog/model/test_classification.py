"""What a derived property inherits, what inherits nothing, and what may be read of other products at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.contract.load import lint_contracts
from catalog.model.catalog import Catalog
from runtime.errors import Finding
from runtime.settings.settings import load_settings
from tests.support.contract_heads import begin

STAFF = (
    begin("staff", grants="reports@1")
    + """
schema:
  - name: people
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: name, logicalType: string, classification: confidential}
      - {name: salary, logicalType: integer, classification: restricted}
      - {name: room, logicalType: integer}
"""
)
TOWN = (
    begin("town")
    + """
schema:
  - name: streets
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: owner, logicalType: string, classification: confidential}
roles: [{role: guest, access: read, customProperties: [{property: anonymous, value: true}]}]
"""
)
Lint = Callable[..., tuple[Catalog, list[Finding]]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    def check(*texts: str) -> tuple[Catalog, list[Finding]]:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.yaml").write_text(text)
        return lint_contracts(load_settings(contracts=tmp_path, home=tmp_path))

    return check


def report(query: str, custom_properties: str = "", *, id: str = "reports", key: str = "k") -> str:
    """A product with one derived dataset, whose columns are k and v."""
    properties = "".join(
        f"      - {{name: {name}, logicalType: string{', primaryKey: true' if name == key else ''}"
        f"{custom_properties if name == 'v' else ''}}}\n"
        for name in ("k", "v")
    )
    return (
        f"apiVersion: v3.1.0\nkind: DataContract\nid: {id}\nversion: 1.0.0\nstatus: active\nschema:\n  - name: made\n"
        f"    customProperties: [{{property: input, value: {{query: {json.dumps(query)}}}}}]\n"
        f"    properties:\n{properties}"
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select id as k, salary as v from staff_v1.people", "restricted"),
        ("select id as k, name as v from staff_v1.people", "confidential"),
        ("select id as k, room as v from staff_v1.people", "internal"),
        ("select id as k, upper(name) || salary as v from staff_v1.people", "restricted"),
        ("select room as k, max(salary) as v from staff_v1.people group by room", "restricted"),
        ("select room as k, count(salary) as v from staff_v1.people group by room", "internal"),
        ("select room as k, count(distinct salary) as v from staff_v1.people group by room", "internal"),
        ("select room as k, count(*) filter (where salary > 9) as v from staff_v1.people group by room", "internal"),
        ("select id as k, case when salary > 9 then 'rich' else 'not' end as v from staff_v1.people", "restricted"),
        ("select id as k, to_jsonb(p) as v from staff_v1.people p", "restricted"),
        ("select id as k, p.to_jsonb as v from staff_v1.people p", "restricted"),
        ("with a as (select id, salary as x from staff_v1.people) select id as k, x as v from a", "restricted"),
        ("select * from (select id, salary from staff_v1.people) as s (k, v)", "restricted"),
        ("select id as k, room as v from staff_v1.people union select id, salary from staff_v1.people", "restricted"),
        ("select id as k, (select max(salary) from staff_v1.people) as v from staff_v1.people", "restricted"),
        (
            "select id as k, exists (select 1 from staff_v1.people where salary > 9) as v from staff_v1.people",
            "restricted",
        ),
        (
            "select id as k, n as v from staff_v1.people join generate_series(1, 9) n on n = salary",
            "restricted",
        ),
        (
            "select id as k, x as v from staff_v1.people p, (values (1), (2)) n (x) where x = salary",
            "restricted",
        ),
        ("select id as k, room as v from staff_v1.people where salary > 9", "internal"),
        ("select id as k, rank() over (order by salary) as v from staff_v1.people", "restricted"),
        ("select id as k, x.v from staff_v1.people p, lateral (select p.salary as v) x", "restricted"),
    ],
)
def test_a_derived_property_is_as_classified_as_what_it_is_made_of(lint: Lint, query: str, expected: str) -> None:
    catalog, found = lint(STAFF, report(query))
    assert [finding.message for finding in found if finding.severity == "error"] == []
    prop = catalog.find("reports.made")[0].properties["v"]
    assert (prop.classification, prop.declared) == (expected, "internal")
    assert len(found) == (expected != "internal")
    assert all("write `classification:" in finding.message for finding in found)


def test_it_goes_on_through_derived_datasets_and_stops_where_the_contract_says_why(lint: Lint) -> None:
    second = report("select k, v from reports_v1.made", id="second")
    first = report("select id as k, salary as v from staff_v1.people").replace(
        "status: active\n", "status: active\ncustomProperties: [{property: grants, value: [second]}]\n"
    )
    catalog, _ = lint(STAFF, first, second)
    assert catalog.find("second.made")[0].properties["v"].classification == "restricted"
    why = ", customProperties: [{property: declassified, value: rounded}]"
    query = "select id as k, salary as v from staff_v1.people"
    catalog, found = lint(STAFF, report(query, why), second.replace("reports_v1.made", "made2"))
    assert catalog.find("reports.made")[0].properties["v"].classification == "internal"
    assert not [finding for finding in found if "restricted" in finding.message]
    empty = ", customProperties: [{property: declassified, value: ''}]"
    _, found = lint(STAFF, report(query, empty))
    assert [finding for finding in found if "declassified: must be a text that gives the reason" in finding.message]


def test_a_key_that_would_inherit_is_refused_with_both_ways_out(lint: Lint) -> None:
    _, found = lint(STAFF, report("select salary as k, id as v from staff_v1.people"))
    (message,) = [finding.message for finding in found if finding.severity == "error"]
    assert "k is restricted, since it is derived from staff@1.people.salary" in message
    assert "a key cannot be classified: choose another key" in message
    assert "declassified: <reason>" in message


@pytest.mark.parametrize(
    ("grants", "granted"),
    [
        ("[reports]", True),
        ("['reports@1']", True),
        ("['reports@2']", False),
        ("[report]", False),
        ("[]", False),
        ("[other, reports]", True),
    ],
)
def test_another_product_is_read_where_it_grants_it(lint: Lint, grants: str, granted: bool) -> None:
    staff = STAFF.replace("[reports@1]", grants)
    assert grants in staff
    _, found = lint(staff, report("select id as k, room as v from staff_v1.people"))
    messages = [finding.message for finding in found if finding.severity == "error"]
    if granted:
        assert messages == []
    else:
        assert len(messages) == 1
        assert "staff@1.people is not granted: its contract must list reports" in messages[0]


@pytest.mark.parametrize("grants", ["reports", "[1]", "{reports: true}", "['a b']", "['a@b']"])
def test_grants_that_are_no_list_of_products_are_refused(lint: Lint, grants: str) -> None:
    _, found = lint(STAFF.replace("[reports@1]", grants))
    assert [finding for finding in found if finding.severity == "error" and "grants: " in finding.message]


def test_what_is_open_to_everybody_is_granted_to_all_without_what_is_classified(lint: Lint) -> None:
    catalog, found = lint(TOWN, report("select id as k, 'x' as v from town_v1.streets"))
    assert found == []
    source = catalog.readings.find(catalog.find("reports.made")[0], "town_v1", "streets")
    assert source is not None
    assert (source.properties, source.granted) == (("id",), False)
    for change in (
        ("status: active", "status: draft"),
        (
            "{property: anonymous, value: true}",
            "{property: anonymous, value: true}, {property: rows, value: 'id > 1'}",
        ),
        ("{property: anonymous, value: true}", "{property: anonymous, value: false}"),
    ):
        _, found = lint(TOWN.replace(*change), report("select id as k, 'x' as v from town_v1.streets"))
        assert [finding for finding in found if "is not granted" in finding.message], change


def test_every_major_of_a_product_reads_the_others(lint: Lint) -> None:
    newer = report("select id as k, room as v from staff_v1.people", id="staff").replace("1.0.0", "2.0.0")
    _, found = lint(STAFF, newer)
    assert [finding for finding in found if finding.severity == "error"] == []
