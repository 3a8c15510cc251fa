"""Contracts written for other tools: they pass lint, migrate, and show up as empty datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ingest.cleaning.lint import lint
from runtime.errors import ContractError
from tests.support.lab import Lab

MakeLab = Callable[..., Lab]

NAMES = ("widget", "widget_part", "crate", "crate_line")
OPEN = "roles:\n  - {role: guest, access: read, customProperties: [{property: anonymous, value: true}]}\n"


def write_warehouse() -> Iterator[str]:
    """A contract of v3.0 as a tool writes it that reads another system's catalogue: no name, no server, no input."""
    yield 'version: "1.0.0"\napiVersion: "v3.0.0"\nid: "0f3c1f8e-9a3b-4f7e-8a35-6d3b1f0c9c11"\n'
    yield 'kind: "DataContract"\nstatus: active\ndescription: {}\nschema:\n'
    for name in NAMES:
        yield f'  - name: "{name}"\n    physicalName: "{name}"\n    physicalType: "table"\n    properties:\n'
        for column, logical, physical, key in (
            (f"{name}id", "number", "serial", True),
            ("since", "date", "timestamp", True),
            ("label", "object", "Name", False),
            ("primary", "object", "Flag", False),
            ("code", "string", "varchar[2147483647]", False),
            ("opens", "date", "time", False),
        ):
            yield f'    - name: "{column}"\n      logicalType: "{logical}"\n      physicalType: "{physical}"\n'
            yield f"      partitioned: false\n      primaryKey: {str(key).lower()}\n"
            if column == "code":
                yield "      tag: ['private']\n"
    yield f'contractCreatedTs: "2023-09-28T20:24:49.331+00:00"\n{OPEN}'


WAREHOUSE = "".join(write_warehouse())
LOADS = (
    """
apiVersion: v3.1.0
kind: DataContract
id: loads
version: 2.1.0
status: active
dataProduct: loads of others
tenant: them
servers:
  - {server: lake, type: kafka, format: avro, host: "broker:9092"}
  - {server: house, type: postgres, host: "${NOWHERE_HOST}", port: 5432, database: "${NOWHERE_DB:-x}", schema: public}
slaDefaultElement: t.when
slaProperties:
  - {property: latency, value: 4, unit: d, element: gone.when}
  - {property: generalAvailability, value: "2022-05-12T09:30:10-08:00"}
  - {property: timeOfAvailability, value: 09:00-08:00, element: gone.when, driver: regulatory}
schema:
  - name: pairs
    id: pairs_object
    properties:
      - {name: left, id: left_column, logicalType: string, primaryKey: true, primaryKeyPosition: 2}
      - {name: right, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
  - name: uses
    physicalName: uses_t
    relationships:
      - type: foreignKey
        from: [uses.right, uses.left]
        to: [pairs.right, pairs.left]
    properties:
      - {name: id, logicalType: integer, primaryKey: true, primaryKeyPosition: 1}
      - {name: left, logicalType: string, relationships: [{to: elsewhere.yaml#/schema/x/properties/y}]}
      - {name: right, logicalType: string, encryptedName: right_encrypted, partitioned: true}
      - name: day
        logicalType: date
        transformSourceObjects: [t1, t2]
        transformLogic: sel t1.day from t1, t2 where t1.day = date-3
      - {name: total, logicalType: number, transformLogic: SUM(amount)}
    quality:
      - {type: custom, engine: soda, implementation: {type: duplicate_percent}}
      - {metric: invalidValues, mustBeLessThan: 5, arguments: {minLength: 3, properties: [left]}}
"""
    + OPEN
)
EMPTY = "apiVersion: v3.0.2\nkind: DataContract\nid: nothing\nversion: 1.0.0\nstatus: active\nschema: []\n"


@pytest.mark.slow
def test_they_migrate_and_are_served_as_empty_datasets(make_lab: MakeLab) -> None:
    lab = make_lab(WAREHOUSE, LOADS, EMPTY)
    with lab.serve() as client:
        document = client.get("/openapi.json")
        assert document.status_code == 200
        assert "/data/loads/v2" in client.get("/data").text
        for dataset in lab.catalog.datasets():
            answer = client.get(f"{dataset.path}/records")
            assert (answer.status_code, answer.json()["data"]) == (200, []), dataset.address
            assert f"{dataset.path}/records" in document.json()["paths"]


@pytest.mark.slow
def test_what_is_not_applied_is_told_in_few_warnings(make_lab: MakeLab) -> None:
    lab = make_lab(WAREHOUSE, LOADS)
    findings, datasets = lint(lab.settings)
    assert datasets == 6
    assert {finding.severity for finding in findings} == {"warning"}
    said = [finding.message for finding in findings]
    assert len(said) == len(set(said)) <= 16
    assert any("'Flag' is not supported for" in message and "(and 3 more)" in message for message in said)
    assert any("unknown field 'tag' of a property; did you mean 'tags'? (and 3 more)" in message for message in said)
    assert any(message == "not applied: the dataset has no input (and 1 more)" for message in said)
    assert any("invalidValues needs arguments" in message for message in said)
    assert any("unknown element 'gone.when'" in message for message in said)


def test_references_by_id_and_by_path_lead_to_the_names(make_lab: MakeLab) -> None:
    by_path = ("schema/pairs/properties/right", "/schema/pairs_object/properties/left_column")
    text = LOADS.replace("[pairs.right, pairs.left]", f"[{', '.join(by_path)}]")
    (key,) = make_lab(text).dataset("loads.uses").foreign_keys
    assert (key.dataset, key.targets, key.properties) == ("pairs", ("right", "left"), ("right", "left"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("{name: id, logicalType: integer, primaryKey: true", "{name: id, logicalType: integer"), "no primaryKey"),
        (("to: [pairs.right, pairs.left]", "to: [pair.right, pair.left]"), "did you mean 'pairs'?"),
        (("to: [pairs.right, pairs.left]", "to: [pairs.right, pairs.lift]"), "property lift; did you mean 'left'?"),
        (("name: right, logicalType: string, primaryKey", "name: right, logicalType: array, primaryKey"), "be a key"),
        (("primaryKeyPosition: 1}\n      - {name: left", "primaryKeyPosition: 1, classification: restricted}\n"
          "      - {name: left"), "a key property cannot be classified"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_with_its_reason(
    make_lab: MakeLab, change: tuple[str, str], reason: str
) -> None:
    text = LOADS.replace(*change)
    assert text != LOADS
    with pytest.raises(ContractError) as caught:
        make_lab(text)
    assert any(reason in finding.message for finding in caught.value.findings), caught.value.findings
