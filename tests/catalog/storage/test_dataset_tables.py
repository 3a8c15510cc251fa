"""Indexes come from the contract: its key, its foreign keys, and what it marks."""

from collections.abc import Callable

import pytest

from catalog.contract.load import lint_contracts
from catalog.model.dataset import links_of
from catalog.storage.dataset_tables import build_tables, name_relations
from tests.support.lab import Lab

MARK = "customProperties: [{property: indexed, value: true}]"
SHOP = f"""
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
schema:
  - name: shelves
    properties:
      - {{name: hall, logicalType: string, primaryKey: true, primaryKeyPosition: 1}}
      - {{name: number, logicalType: integer, primaryKey: true, primaryKeyPosition: 2}}
  - name: things
    relationships:
      - {{type: foreignKey, from: [things.hall, things.shelf], to: [shelves.hall, shelves.number]}}
    properties:
      - {{name: area, logicalType: string, primaryKey: true, primaryKeyPosition: 1, {MARK}}}
      - {{name: code, logicalType: string, primaryKey: true, primaryKeyPosition: 2, {MARK}}}
      - {{name: hall, logicalType: string, {MARK}}}
      - {{name: shelf, logicalType: integer}}
      - {{name: tags, logicalType: array, physicalType: "text[]", items: {{logicalType: string}}, {MARK}}}
      - {{name: extra, logicalType: object, {MARK}}}
"""


@pytest.mark.slow
def test_each_index_finds_by_what_the_contract_names_and_goes_on_in_the_order_of_the_key(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(SHOP)
    lab.migrate()
    found = lab.rows(
        "SELECT tablename, split_part(indexdef, ' USING ', 2) FROM pg_indexes WHERE schemaname = 'shop_v1'"
        " AND tablename LIKE 'things%%'"
    )
    assert sorted(columns for table, columns in found if table == "things") == [
        "btree (_revision)",
        "btree (area, code)",
        "btree (code, area)",
        "btree (hall, area, code)",
        "btree (hall, shelf, area, code)",
        "gin (tags)",
    ]
    assert sorted(columns for table, columns in found if table == "things_history") == [
        "btree (_revision)",
        "btree (_until, area, code)",
        "btree (area, code, _revision)",
        "btree (code, area)",
        "btree (hall, area, code)",
        "btree (hall, shelf, area, code)",
        "gin (tags)",
    ]


def test_what_no_index_could_find_by_is_a_warning(make_lab: Callable[..., Lab]) -> None:
    _, findings = lint_contracts(make_lab(SHOP).settings)
    assert [(found.severity, found.path, found.message) for found in findings] == [
        ("warning", "schema[1].properties[5].customProperties", "indexed: not applied to the type object")
    ]


def test_a_property_called_expanded_leaves_no_place_for_related_records(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SHOP.replace("name: shelf,", "name: expanded,").replace("things.shelf", "things.expanded"))
    _, findings = lint_contracts(lab.settings)
    assert "a property is named 'expanded', so `expand=` is not available" in [found.message for found in findings]
    assert links_of(lab.dataset("shop.things")) == {}
    assert list(links_of(make_lab(SHOP).dataset("shop.things"))) == ["shelves"]


def test_names_are_told_without_the_tables_as_the_tables_have_them(make_lab: Callable[..., Lab]) -> None:
    tables = build_tables(make_lab(SHOP).catalog.products.values())
    for each in tables.by_dataset.values():
        made = {
            str(name)
            for table in (each.current, each.history)
            for name in (table.name, table.primary_key.name, *(index.name for index in table.indexes))
        }
        assert {name for _, name in name_relations(each.dataset)} == made
