"""Where properties come from, property by property."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from catalog.contract.load import load_catalog
from catalog.model.catalog import Catalog
from catalog.model.lineage import Lineage, Origin, to_json, trace_lineage
from commands.show.lineage import show_lineage
from runtime.settings.settings import load_settings
from tests.support.contract_heads import begin

SALES = (
    begin("shop", grants="report")
    + """
servers:
  - {server: here, type: local, path: data, format: csv}
schema:
  - name: sales
    customProperties: [{property: input, value: {server: here, path: sales.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - name: amount
        logicalType: number
        transformLogic: "price::double * pieces::int"
        transformSourceObjects: [till.receipts]
      - {name: "Sold On", logicalType: date, transformLogic: "sold"}
      - {name: shop, logicalType: string}
  - name: empty
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
"""
)
REPORT = (
    begin("report")
    + """
schema:
  - name: days
    customProperties:
      - property: input
        value:
          query: >
            with chosen as (select *, "Sold On" as day from shop_v1.sales where shop <> 'x')
            select day, sum(c.amount + c.id) as total, count(*) as sales, 7 as seven, avg(amount)
            from chosen c group by day
            union all select "Sold On", amount, 1, 2, 3 from shop_v1.sales
    properties:
      - {name: day, logicalType: date, primaryKey: true}
      - {name: total, logicalType: number, transformLogic: "round(total::double)"}
      - {name: sales, logicalType: integer}
      - {name: avg, logicalType: number}
  - name: best
    customProperties: [{property: input, value: {query: "select * from days order by total limit 1"}}]
    properties:
      - {name: day, logicalType: date, primaryKey: true}
      - {name: total, logicalType: number}
"""
)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    for name, text in (("sales", SALES), ("report", REPORT)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return load_catalog(load_settings(contracts=tmp_path, home=tmp_path))


def trace(catalog: Catalog, address: str) -> Lineage:
    return trace_lineage(catalog, catalog.find(address)[0])


def origins(traced: Lineage) -> dict[str, list[str]]:
    return {prop.name: [origin.shown for origin in prop.origins] for prop in traced.properties}


def test_properties_of_a_file_come_from_its_columns_and_from_what_the_contract_says(catalog: Catalog) -> None:
    assert origins(trace(catalog, "shop.sales")) == {
        "id": ["id of sales.csv"],
        "amount": ["price of sales.csv", "pieces of sales.csv", "till.receipts (as the contract says)"],
        "Sold On": ["sold of sales.csv"],
        "shop": ["shop of sales.csv"],
    }


def test_properties_of_a_query_are_followed_through_ctes_unions_and_aggregates(catalog: Catalog) -> None:
    assert origins(trace(catalog, "report.days")) == {
        "day": ["shop@1.sales.Sold On"],
        "total": ["shop@1.sales.amount", "shop@1.sales.id"],
        "sales": ["records of shop@1.sales"],
        # Postgres finds the name of this column: the text does not tell.
        "avg": ["records of shop@1.sales"],
    }


def test_a_star_and_a_dataset_derived_from_a_derived_one_lead_back_to_raw_columns(catalog: Catalog) -> None:
    total = trace(catalog, "report.best").properties[1]
    (through,) = total.origins
    assert (through.kind, through.place, through.name) == ("property", "report@1.days", "total")
    amount, number = through.origins
    assert number == Origin("property", "shop@1.sales", "id", (Origin("column", "sales.csv", "id"),))
    assert [origin.name for origin in amount.origins] == ["price", "pieces", "till.receipts"]


def test_a_dataset_without_input_says_so(catalog: Catalog) -> None:
    traced = trace(catalog, "shop.empty")
    assert (traced.source, origins(traced)) == (None, {"id": []})
    assert "has no input" in shown(traced)


def test_the_tree_and_the_json_show_all_of_it(catalog: Catalog) -> None:
    traced = trace(catalog, "report.best")
    text = shown(traced)
    assert "report@1.best" in text
    assert "← price of sales.csv" in text
    assert json.loads(json.dumps(to_json(traced)))["properties"][1]["origins"][0]["place"] == "report@1.days"


def shown(traced: Lineage) -> str:
    console = Console(file=io.StringIO(), width=120)
    show_lineage(traced, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]
