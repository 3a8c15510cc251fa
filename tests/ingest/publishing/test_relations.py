"""Foreign keys, unique values and derived datasets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.lab import Lab

FAMILY = """
apiVersion: v3.1.0
kind: DataContract
id: family
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: children
    customProperties:
      - {property: input, value: {server: here, path: children.csv, mode: upsert}}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: parent, logicalType: string, relationships: [{type: foreignKey, to: parents.name}]}
      - name: school
        logicalType: string
        relationships: [{type: foreignKey, to: schools.name, customProperties: [{property: enforced, value: false}]}]
      - {name: mail, logicalType: string, unique: true}
      - {name: age, logicalType: integer}
  - name: parents
    customProperties:
      - {property: input, value: {server: here, path: parents.csv, mode: snapshot}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: name, logicalType: string, primaryKey: true}
  - name: schools
    properties:
      - {name: name, logicalType: string, primaryKey: true}
  - name: ages
    customProperties:
      - property: input
        value:
          mode: snapshot
          query: select parent, count(*) as children, avg(age) as mean_age from children group by parent
    properties:
      - {name: parent, logicalType: string, primaryKey: true}
      - {name: children, logicalType: integer}
      - {name: mean_age, logicalType: number}
"""


@pytest.fixture
def family(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(FAMILY)
    lab.ingest("family.parents", "name\nAda\nBob\n", "parents.csv")
    return lab


def children(lab: Lab) -> list[int]:
    return [row[0] for row in lab.rows("SELECT id FROM family_v1.children ORDER BY id")]


def rejects(lab: Lab) -> dict[int, set[str]]:
    found = lab.rows("SELECT line, reasons FROM decant.rejected_records ORDER BY id")
    return {line: {f"{reason['property']}:{reason['rule']}" for reason in reasons} for line, reasons in found}


def test_parents_are_loaded_before_children_whatever_the_contract_s_order(family: Lab) -> None:
    assert [d.name for d in family.catalog.find("family")] == ["parents", "children", "schools", "ages"]


@pytest.mark.sampled
@pytest.mark.parametrize("before", ["", "id,parent,school,mail,age\n99,Ada,,z,1\n"])
def test_a_record_without_its_parent_is_rejected_and_all_its_reasons_are_kept(family: Lab, before: str) -> None:
    if before:
        family.ingest("family.children", before, "children.csv")
    report = family.ingest(
        "family.children",
        "id,parent,school,mail,age\n1,Ada,none,a,5\n2,Zoe,,b,6\n3,Zoe,,c,old\n4,,,d,\n5,Bob,,e,x\n",
        "children.csv",
    )
    assert report.outcome
    assert (report.outcome.raw, report.outcome.accepted, report.outcome.rejected) == (5, 2, 3)
    assert children(family) == [1, 4] + ([99] if before else [])
    assert rejects(family) == {3: {"parent:foreign_key"}, 4: {"parent:foreign_key", "age:type"}, 6: {"age:type"}}
    raws = family.rows("SELECT raw FROM decant.rejected_records ORDER BY line")
    assert [raw for (raw,) in raws] == ["2,Zoe,,b,6", "3,Zoe,,c,old", "5,Bob,,e,x"]


@pytest.mark.slow
def test_a_deleted_parent_leaves_its_children(family: Lab) -> None:
    family.ingest("family.children", "id,parent,school,mail,age\n1,Ada,,a,5\n", "children.csv")
    family.ingest("family.parents", "name\nBob\n", "parents.csv")
    assert children(family) == [1]


def test_of_two_records_with_one_unique_value_the_newer_is_kept(family: Lab) -> None:
    report = family.ingest(
        "family.children", "id,parent,school,mail,age\n1,Ada,,a,5\n2,Bob,,a,6\n3,,,,\n4,,,,\n", "children.csv"
    )
    assert report.outcome
    assert (report.outcome.accepted, report.outcome.rejected) == (3, 1)
    assert children(family) == [2, 3, 4]
    assert rejects(family) == {2: {"mail:unique"}}


@pytest.mark.slow
def test_a_unique_value_that_another_record_has_already_is_rejected(family: Lab) -> None:
    family.ingest("family.children", "id,parent,school,mail,age\n1,Ada,,a,5\n2,Ada,,b,5\n", "children.csv")
    report = family.ingest("family.children", "id,parent,school,mail,age\n3,Ada,,a,5\n", "children.csv")
    assert report.outcome
    assert report.outcome.rejected == 1
    # The value may change hands within one batch.
    report = family.ingest("family.children", "id,parent,school,mail,age\n1,Ada,,x,5\n3,Ada,,a,5\n", "children.csv")
    assert report.outcome
    assert report.outcome.rejected == 0
    assert children(family) == [1, 2, 3]


def test_a_derived_dataset_follows_what_it_reads(family: Lab) -> None:
    family.ingest(
        "family.children", "id,parent,school,mail,age\n1,Ada,,a,5\n2,Ada,,b,8\n3,Bob,,c,1\n", "children.csv"
    )
    assert family.ingest("family.ages").status == "published"
    query = "SELECT parent, children, mean_age FROM family_v1.ages ORDER BY parent"
    assert family.rows(query) == [("Ada", 2, 6.5), ("Bob", 1, 1.0)]
    assert family.ingest("family.ages").status == "unchanged"
    family.ingest("family.children", "id,parent,school,mail,age\n3,Bob,,c,3\n", "children.csv")
    assert family.ingest("family.ages").status == "published"
    assert family.rows(query) == [("Ada", 2, 6.5), ("Bob", 1, 3.0)]
    positions = family.rows("SELECT position FROM decant.loads WHERE kind = 'refresh' ORDER BY id")
    assert [p[0]["revisions"] for p in positions if p[0]] == [{"children": 1}, {"children": 2}]


@pytest.mark.slow
def test_a_query_that_fails_leaves_the_good_data_alone(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(FAMILY.replace("avg(age)", "avg(1 / (age - 5))"))
    lab.ingest("family.parents", "name\nAda\n", "parents.csv")
    lab.ingest("family.children", "id,parent,school,mail,age\n1,Ada,,a,5\n", "children.csv")
    report = lab.ingest("family.ages")
    assert (report.status, report.error_code) == ("failed", "query_failed")
    assert "division by zero" in (report.error or "")
