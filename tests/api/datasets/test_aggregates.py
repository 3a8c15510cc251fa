"""Aggregates over HTTP, held against the same sums in Python."""

from __future__ import annotations

import csv
import io
import random
import statistics
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.support.lab import Lab, walk
from tests.support.shops import make_shop

SALES = make_shop(
    """
  - name: sales
    customProperties:
      - {property: input, value: {server: here, path: sales.csv, mode: snapshot, nullValues: [""]}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: place, logicalType: string}
      - {name: sold_at, logicalType: timestamp}
      - {name: day, logicalType: date}
      - {name: pieces, logicalType: integer}
      - {name: price, logicalType: number, physicalType: "numeric(12,2)"}
      - {name: weight, logicalType: number}
      - {name: paid, logicalType: boolean}
      - {name: margin, logicalType: number, classification: restricted}
"""
)
AGGREGATE = "/data/shop/v1/sales/aggregate"
FIELDS = ["id", "place", "sold_at", "day", "pieces", "price", "weight", "paid", "margin"]


def make_sales(number: int, seed: int = 3) -> list[dict[str, Any]]:
    """Sales with few places, many nulls and moments around midnights and New Year."""
    source = random.Random(seed)
    start = datetime(2025, 12, 30, tzinfo=UTC)
    sales = []
    for index in range(number):
        timestamp = start + timedelta(minutes=source.randrange(6000))
        sales.append(
            {
                "id": index,
                "place": source.choice(["Ghent", "Zürich", "a,b", None]),
                "sold_at": source.choice([timestamp, timestamp, None]),
                "day": timestamp.date(),
                "pieces": source.choice([None, 1, 2, 5]),
                "price": source.choice([None, Decimal("1.10"), Decimal("20.05"), Decimal("999999999.99")]),
                "weight": source.choice([None, 0.5, 1.25, 3.0]),
                "paid": source.choice([True, False, None]),
                "margin": 0.5,
            }
        )
    return sales


def write_sales(sales: list[dict[str, Any]]) -> str:
    """The sales as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS)
    writer.writeheader()
    for sale in sales:
        row = {k: ("" if v is None else str(v).lower() if isinstance(v, bool) else v) for k, v in sale.items()}
        writer.writerow(row | {"sold_at": sale["sold_at"].isoformat() if sale["sold_at"] else ""})
    return out.getvalue()


def load_shop(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(SALES)
    lab.ingest("shop.sales", write_sales(make_sales(400)), "sales.csv")
    return lab


def ask(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"{AGGREGATE}?{query}")
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def test_without_a_group_one_row_tells_of_all_records(client: httpx.Client) -> None:
    assert ask(client, "") == [{"count": 400}]
    assert ask(client, "place=nowhere&measure=count,sum:pieces") == [{"count": 0, "sum_pieces": None}]


def test_every_measure_is_what_python_makes_of_the_same_records(client: httpx.Client) -> None:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for sale in make_sales(400):
        groups[sale["place"]].append(sale)
    measures = "count,count:weight,distinct:pieces,sum:pieces,sum:price,avg:weight,min:price,max:day,median:weight"
    found = {row["place"]: row for row in ask(client, f"group_by=place&measure={measures},p95:pieces,avg:price")}
    assert found.keys() == groups.keys()
    for place, sales in groups.items():
        row = found[place]
        pieces = [s["pieces"] for s in sales if s["pieces"] is not None]
        weights = [s["weight"] for s in sales if s["weight"] is not None]
        prices = [s["price"] for s in sales if s["price"] is not None]
        assert row["count"] == len(sales)
        assert row["count_weight"] == len(weights)
        assert row["distinct_pieces"] == len(set(pieces))
        assert row["sum_pieces"] == sum(pieces)
        assert Decimal(row["sum_price"]) == sum(prices)
        assert row["avg_weight"] == pytest.approx(statistics.mean(weights))
        assert row["min_price"] == str(min(prices))
        assert row["max_day"] == max(s["day"] for s in sales).isoformat()
        assert row["median_weight"] == pytest.approx(statistics.median(weights))
        assert row["p95_pieces"] == pytest.approx(statistics.quantiles(pieces, n=20, method="inclusive")[-1])
        assert float(row["avg_price"]) == pytest.approx(float(sum(prices) / len(prices)))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_days_and_months_begin_where_the_caller_lives(client: httpx.Client, zone: str) -> None:
    for bucket in ("month", "day"):
        expected: dict[str | None, int] = defaultdict(int)
        for sale in make_sales(400):
            timestamp = sale["sold_at"]
            if timestamp is None:
                expected[None] += 1
                continue
            local = timestamp.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0)
            local = local.replace(day=1) if bucket == "month" else local
            expected[local.astimezone(UTC).isoformat()] += 1
        found = ask(client, f"group_by={bucket}(sold_at)&timezone={zone}")
        assert {row[f"{bucket}_sold_at"]: row["count"] for row in found} == expected


def test_dates_have_buckets_too(client: httpx.Client) -> None:
    found = ask(client, "group_by=year(day)&sort=year_day")
    assert [row["year_day"] for row in found] == ["2025-01-01", "2026-01-01"]


@pytest.mark.sampled
@pytest.mark.alone
@pytest.mark.parametrize("sort", ["", "-count", "place", "-sum_price,paid", "-paid,-place", "avg_weight"])
def test_a_walk_over_groups_gives_each_once_and_in_order(client: httpx.Client, shop: Lab, sort: str) -> None:
    query = "group_by=place,paid,day(day)&measure=count,sum:price,avg:weight" + (f"&sort={sort}" if sort else "")
    whole = ask(client, f"{query}&limit=1000")
    first = client.get(f"{AGGREGATE}?{query}&limit=7").json()
    # A publication in mid-walk changes nothing of it.
    shop.ingest("shop.sales", write_sales(make_sales(300, seed=8)), "sales.csv")
    rest = walk(client, first["next"])
    assert first["data"] + rest == whole
    assert sum(row["count"] for row in whole) == 400


@pytest.mark.slow
def test_a_sum_of_floats_is_the_same_wherever_its_records_lie(make_lab: Callable[..., Lab]) -> None:
    lab, source = make_lab(SALES, cache_bytes=0), random.Random(5)
    sales = [sale | {"weight": source.random() * 10 ** source.randrange(9)} for sale in make_sales(400)]
    lab.ingest("shop.sales", write_sales(sales), "sales.csv")
    query = "group_by=place&measure=sum:weight,avg:weight&at=1"
    with lab.serve() as client:
        before = ask(client, query)
        # Half of the records go to history, in another order than they had.
        lab.ingest(
            "shop.sales", write_sales([sale | {"pieces": 7} for sale in sales[::-2]] + sales[::2]), "sales.csv"
        )
        assert ask(client, query) == before


def test_a_sum_may_pass_what_a_bigint_holds(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(SALES)
    most, number = 2**53 - 1, 1100
    sales = [sale | {"pieces": most} for sale in make_sales(number)]
    assert lab.ingest("shop.sales", write_sales(sales), "sales.csv").status == "published"
    with lab.serve() as served:
        answer = served.get(f"{AGGREGATE}?measure=sum:pieces,count")
        assert answer.status_code == 200
        assert int(answer.json()["data"][0]["sum_pieces"]) == number * most


@pytest.mark.slow
@pytest.mark.alone
def test_an_older_revision_is_aggregated_as_it_was(client: httpx.Client, shop: Lab) -> None:
    before = ask(client, "group_by=place&measure=count,sum:price")
    shop.ingest("shop.sales", write_sales(make_sales(250, seed=9)), "sales.csv")
    assert ask(client, "group_by=place&measure=count,sum:price&at=1") == before
    for _ in range(2000):
        if ask(client, "") == [{"count": 250}]:
            break
    answer = client.get(f"{AGGREGATE}?at=2").json()
    assert (answer["data"], answer["revision"]) == ([{"count": 250}], 2)


@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("group_by=plaec", "unknown_parameter", "group_by"),
        ("group_by=margin", "unknown_parameter", "group_by"),
        ("measure=avg:margin", "unknown_parameter", "measure"),
        ("margin[gte]=0", "unknown_parameter", "margin[gte]"),
        ("group_by=month(place)", "invalid_value", "group_by"),
        ("group_by=hour(day)", "invalid_value", "group_by"),
        ("group_by=fortnight(day)", "invalid_value", "group_by"),
        ("measure=sum:place", "invalid_value", "measure"),
        ("measure=avg", "invalid_value", "measure"),
        ("measure=mode:place", "invalid_value", "measure"),
        ("sort=place", "invalid_value", "sort"),
        ("timezone=Mars/Olympus", "invalid_value", "timezone"),
        ("group_by=day(sold_at)&timezone=localtime", "invalid_value", "timezone"),
        ("limit=0", "limit_out_of_range", "limit"),
        ("properties=place", "unknown_parameter", "properties"),
        ("timezone=UTC&timezone=UTC", "duplicate_parameter", "timezone"),
        ("cursor=abc", "invalid_cursor", "cursor"),
        ("group_by=id;drop table", "unknown_parameter", "group_by"),
    ],
)
def test_what_makes_no_sense_is_refused(client: httpx.Client, query: str, code: str, parameter: str) -> None:
    answer = client.get(f"{AGGREGATE}?{query}")
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert (body["code"], body["errors"][0]["parameter"]) == (code, parameter)


def test_a_cursor_of_one_aggregate_is_none_of_another(client: httpx.Client) -> None:
    following = client.get(f"{AGGREGATE}?group_by=day&limit=1").json()["next"]
    assert client.get(following).status_code == 200
    for other in (
        "group_by=place",
        "group_by=day(day)",
        "group_by=day&measure=count:place",
        "group_by=day&paid=true",
    ):
        answer = client.get(f"{AGGREGATE}?{other}&cursor={following.partition('cursor=')[2]}")
        assert answer.json()["code"] == "invalid_cursor"
    assert client.get(f"/data/shop/v1/sales/records?cursor={following.partition('cursor=')[2]}").status_code == 422
