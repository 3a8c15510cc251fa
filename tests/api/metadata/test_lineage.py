"""Lineage over HTTP: what a caller learns of origins and uses, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.contract_heads import begin
from tests.support.lab import Lab
from tests.support.pushing import make_key

SHOP = (
    begin("shop", grants="report")
    + """
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: sales
    customProperties: [{property: input, value: {server: here, path: till.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - name: amount
        logicalType: number
        transformLogic: "price::double * pieces::int"
        transformSourceObjects: [till.receipts]
      - {name: cost, logicalType: number, classification: restricted, transformLogic: "paid::double"}
      - {name: profit, logicalType: number, transformLogic: "price::double - cost::double"}
roles:
  - {role: some, access: read, customProperties: [{property: rows, value: {sales: "id < 10"}}]}
"""
)
REPORT = (
    begin("report", grants="board")
    + """
schema:
  - name: totals
    customProperties:
      - property: input
        value: {query: "select id, sum(amount) as total, max(cost) as most, count(*) as sales
                        from shop_v1.sales group by id"}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: total, logicalType: number}
      - name: most
        logicalType: number
        customProperties: [{property: declassified, value: a maximum tells of no sale}]
      - {name: sales, logicalType: integer}
  - name: twice
    customProperties: [{property: input, value: {query: "select id, total as one, 2 * total as two from totals"}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: one, logicalType: number}
      - {name: two, logicalType: number}
"""
)
BOARD = (
    begin("board")
    + """
schema:
  - name: figures
    customProperties: [{property: input, value: {query: "select id, one + two as both from report_v1.twice"}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: both, logicalType: number}
"""
)
SALES, TOTALS, FIGURES = "/data/shop/v1/sales", "/data/report/v1/totals", "/data/board/v1/figures"
RAW = (b"till.csv", b"till.receipts", b"price", b"paid", b"select", b"transform", b"query")


def load_shop(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(SHOP, REPORT, BOARD)


@pytest.fixture
def shop(shared_labs: Callable[..., Lab]) -> Lab:
    return shared_labs(load_shop)


@pytest.fixture
def client(shop: Lab) -> Iterator[httpx.Client]:
    with shop.serve() as client:
        yield client


def ask(client: httpx.Client, shop: Lab, dataset: str, *scopes: str) -> dict[str, Any]:
    """The lineage of a dataset for a caller with these scopes; raw data only where they say so."""
    answer = client.get(f"{dataset}/lineage", headers=make_key(shop, *scopes))
    assert answer.status_code == 200, answer.text
    if "ops:read" not in scopes:
        assert not any(word in answer.content for word in RAW)
    if "shop:read:restricted" not in scopes:
        assert b"cost" not in answer.content
    data: dict[str, Any] = answer.json()["data"]
    return data


def origins(data: dict[str, Any]) -> dict[str, list[tuple[str, str, str | None]]]:
    """What each property directly comes from."""
    return {p["name"]: [(o["kind"], o["place"], o["name"]) for o in p["origins"]] for p in data["properties"]}


def users(data: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """What uses each property, and the records as a whole."""
    uses = {p["name"]: p["used_by"] for p in data["properties"]} | {"": data["used_by"]}
    return {name: [(user["place"], user["name"]) for user in found] for name, found in uses.items()}


def test_a_reader_sees_properties_of_datasets_and_no_raw_data(client: httpx.Client, shop: Lab) -> None:
    data = ask(client, shop, TOTALS, "report:read", "shop:read")
    assert data.keys() == {"dataset", "properties", "used_by"}
    assert origins(data) == {
        "id": [("property", "shop@1.sales", "id")],
        "total": [("property", "shop@1.sales", "amount")],
        "most": [],
        "sales": [("records", "shop@1.sales", None)],
    }
    assert data["properties"][1]["origins"][0]["url"] == f"{SALES}/lineage"
    assert origins(ask(client, shop, SALES, "shop:read")) == {"id": [], "amount": [], "profit": []}


def test_an_operator_sees_raw_data_but_for_what_names_hidden_properties(client: httpx.Client, shop: Lab) -> None:
    data = ask(client, shop, SALES, "shop:read", "ops:read")
    assert (data["source"], data["query"]) == ("till.csv", None)
    assert {p["name"]: p["transform"] for p in data["properties"]} == {
        "id": None,
        "amount": "price::double * pieces::int",
        "profit": None,
    }
    assert origins(data)["amount"] == [
        ("column", "till.csv", "price"),
        ("column", "till.csv", "pieces"),
        ("stated", "", "till.receipts"),
    ]
    assert origins(data)["profit"] == [("column", "till.csv", "price")]
    assert ask(client, shop, TOTALS, "report:read", "shop:read", "ops:read")["query"] is None
    assert ask(client, shop, TOTALS, "report:read", "ops:read")["query"] is None


def test_a_scope_for_what_is_restricted_opens_it(client: httpx.Client, shop: Lab) -> None:
    scopes = ("report:read", "shop:read", "shop:read:restricted", "ops:read")
    data = ask(client, shop, TOTALS, *scopes)
    assert data["query"].startswith("select id, sum(amount)")
    assert origins(data)["most"] == [("property", "shop@1.sales", "cost")]
    assert data["properties"][2]["origins"][0]["origins"] == [{"kind": "column", "place": "till.csv", "name": "paid"}]
    assert origins(ask(client, shop, SALES, *scopes))["cost"] == [("column", "till.csv", "paid")]


def test_what_lies_behind_a_hidden_product_is_left_out(client: httpx.Client, shop: Lab) -> None:
    answer = client.get(f"{TOTALS}/lineage", headers=make_key(shop, "report:read"))
    assert b"shop" not in answer.content
    assert not any(origins(answer.json()["data"]).values())
    assert origins(ask(client, shop, FIGURES, "board:read", "shop:read", "ops:read")) == {"id": [], "both": []}


def test_users_are_shown_to_who_sees_them(client: httpx.Client, shop: Lab) -> None:
    assert not any(users(ask(client, shop, SALES, "shop:read")).values())
    found = users(ask(client, shop, SALES, "shop:read", "report:read"))
    assert found == {
        "id": [("report@1.totals", "id")],
        "amount": [("report@1.totals", "total")],
        "profit": [],
        "": [("report@1.totals", "sales")],
    }
    assert users(ask(client, shop, TOTALS, "report:read", "board:read"))["total"] == [
        ("report@1.twice", "one"),
        ("report@1.twice", "two"),
    ]
    assert users(ask(client, shop, "/data/report/v1/twice", "report:read"))["one"] == []


def test_an_origin_that_comes_twice_is_followed_once(client: httpx.Client, shop: Lab) -> None:
    data = ask(client, shop, FIGURES, "board:read", "report:read", "shop:read")
    one, two = data["properties"][1]["origins"]
    assert (one["name"], two["name"]) == ("one", "two")
    assert [origin["name"] for origin in one["origins"][0]["origins"]] == ["amount"]
    assert (two["origins"][0]["name"], two["origins"][0]["origins"]) == ("total", [])


def test_who_sees_some_records_has_the_lineage(client: httpx.Client, shop: Lab) -> None:
    assert origins(ask(client, shop, SALES, "shop:role:some")) == {"id": [], "amount": [], "profit": []}
    links = client.get(SALES, headers=make_key(shop, "shop:role:some")).json()["data"]["links"]
    assert links["lineage"] == f"{SALES}/lineage"
    assert "profile" not in links


def test_an_answer_that_is_known_is_not_sent_again(client: httpx.Client, shop: Lab) -> None:
    headers = make_key(shop, "report:read", "shop:read")
    first = client.get(f"{TOTALS}/lineage", headers=headers)
    again = client.get(f"{TOTALS}/lineage", headers=headers | {"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{SALES}/lineage?depth=1", 422, "unknown_parameter"),
        ("/data/shop/v1/nothing/lineage", 404, "not_found"),
        (f"{FIGURES}/lineage", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_refused(client: httpx.Client, shop: Lab, path: str, status: int, code: str) -> None:
    answer = client.get(path, headers=make_key(shop, "shop:read"))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert client.get(path).status_code == 401
