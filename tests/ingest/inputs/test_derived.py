"""Derived datasets that read other products, on a real Postgres."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.contract_heads import begin
from tests.support.lab import Lab

SHOP = (
    begin("shop", grants="report")
    + """
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: Sold.Items
    physicalName: items_t
    customProperties:
      - {property: input, value: {server: here, path: items.csv}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: 'Price %', physicalName: price_percent, logicalType: number, physicalType: "numeric(9,2)"}
      - {name: sold, logicalType: timestamp}
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
            select "Sold.Items".sold::date as day, sum(shop_v1."Sold.Items"."Price %") as total
            from shop_v1."Sold.Items" group by 1 -- a comment at the end
    properties:
      - {name: day, logicalType: date, primaryKey: true}
      - {name: total, logicalType: number, physicalType: "numeric(9,2)"}
  - name: months
    customProperties:
      - property: input
        value:
          query: >
            with days as (select date_trunc('month', day)::date as month, total from days)
            select month, sum(total) as total, (select count(*) from shop_v1."Sold.Items") as items
            from days group by month
    properties:
      - {name: month, logicalType: date, primaryKey: true}
      - {name: total, logicalType: number, physicalType: "numeric(9,2)"}
      - {name: items, logicalType: integer}
"""
)
ITEMS = "id,Price %,sold\n1,2.50,2026-01-01T23:30:00Z\n2,3.50,2026-01-02T00:30:00Z\n3,4,2026-01-02T10:00:00Z\n"

MakeLab = Callable[..., Lab]


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    lab = make_lab(SHOP, REPORT)
    assert lab.ingest("shop", ITEMS, "items.csv").status == "published"
    return lab


def make_query(query: str) -> str:
    """The second product with one dataset, which this query makes."""
    head = REPORT.partition("  - name: days")[0]
    return f"""{head}  - name: days
    customProperties: [{{property: input, value: {{query: '{query.replace("'", "''")}'}}}}]
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: x, logicalType: string}}
"""


@pytest.mark.slow
def test_a_query_reads_another_product_and_notes_the_revisions(lab: Lab) -> None:
    report = lab.ingest("report.days")
    assert report.status == "published", report.error
    report = lab.ingest("report.months")
    assert report.status == "published", report.error
    assert lab.rows("SELECT day::text, total::text FROM report_v1.days ORDER BY day") == [
        ("2026-01-01", "2.50"),
        ("2026-01-02", "7.50"),
    ]
    assert lab.rows("SELECT month::text, total::text, items FROM report_v1.months") == [("2026-01-01", "10.00", 3)]
    positions = lab.rows("SELECT position FROM decant.loads WHERE kind = 'refresh' ORDER BY id")
    assert [position["revisions"] for (position,) in positions] == [
        {"shop_v1.Sold.Items": 1},
        {"days": 1, "shop_v1.Sold.Items": 1},
    ]
    lab.ingest("shop", ITEMS.replace("2.50", "9"), "items.csv")
    assert lab.ingest("report.days").status == "published"
    (position,) = lab.rows("SELECT position FROM decant.loads WHERE kind = 'refresh' ORDER BY id DESC LIMIT 1")
    assert position[0]["revisions"] == {"shop_v1.Sold.Items": 2}


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ('select id, _revision::text as x from shop_v1."Sold.Items"', "_revision"),
        ('select id, price_percent::text as x from shop_v1."Sold.Items"', "price_percent"),
        ('select id, upper(id) as x from shop_v1."Sold.Items"', "upper"),
        ('select id, (1 / (id - 1))::text as x from shop_v1."Sold.Items"', "division by zero"),
    ],
)
def test_a_query_sees_the_properties_of_datasets_and_nothing_else(
    make_lab: MakeLab, query: str, message: str
) -> None:
    lab = make_lab(SHOP, make_query(query))
    lab.ingest("shop", ITEMS, "items.csv")
    report = lab.ingest("report.days")
    assert (report.status, report.error_code) == ("failed", "query_failed")
    assert message in (report.error or "")
    assert lab.rows("SELECT count(*) FROM report_v1.days") == [(0,)]


def test_a_result_without_a_needed_column_fails_before_anything_is_written(make_lab: MakeLab) -> None:
    lab = make_lab(SHOP, make_query('select * from shop_v1."Sold.Items"'))
    lab.ingest("shop", ITEMS, "items.csv")
    report = lab.ingest("report.days")
    assert report.status == "failed"
    assert "x" in (report.error or "")
