"""Who is told of a quality rule and of what it measured: whoever may see all that it reads, in any product."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.support.keys import key_of
from tests.support.lab import Lab

STAFF = """
apiVersion: v3.1.0
kind: DataContract
id: staff
version: 1.0.0
status: active
customProperties: [{property: grants, value: [shop]}]
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: salaries
    physicalName: pay_roll
    customProperties: [{property: input, value: {server: here, path: salaries.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: salary, logicalType: integer, physicalName: amount_c, classification: restricted}
  - name: summary
    customProperties:
      - property: input
        value:
          query: select 1 as id, max(salary) as top, count(salary) as heads, max(salary) as told from salaries
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: top, logicalType: integer}
      - {name: heads, logicalType: integer}
      - name: told
        logicalType: integer
        customProperties: [{property: declassified, value: the board publishes it}]
"""
SHOP = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
  - name: items
    customProperties: [{property: input, value: {server: here, path: items.csv}}]
    quality:
      - {name: rows, type: sql, query: "select count(*) from {object}", mustBe: 1}
      - {name: open one, type: sql, query: "select count(title) from {object}", mustBe: 1}
      - {name: hidden one, type: sql, query: "select max(cost_c) from {object}", mustBe: 7}
      - {name: hidden row, type: sql, query: "select count(distinct t) from {object} as t", mustBe: 1}
      - {name: hidden condition, type: sql, query: "select count(*) from {object} where cost_c > 3", mustBe: 1}
      - name: elsewhere
        type: sql
        query: select max(p.amount_c) from staff_v1.pay_roll p
        mustBe: 1
        severity: warning
      - {name: elsewhere counted, type: sql, query: "select count(*) from staff_v1.pay_roll", mustBe: 1}
      - {name: one of a metric, metric: nullValues, arguments: {properties: [cost]}, mustBe: 0}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: title, logicalType: string}
      - {name: cost, logicalType: integer, physicalName: cost_c, classification: restricted}
"""
STANDARD = ["maxRejected", "raw records"]


def told(client: httpx.Client, headers: dict[str, str]) -> list[str]:
    """The rules that a caller is told of at the latest load."""
    answer = client.get("/data/shop/v1/items/quality", headers=headers)
    assert answer.status_code == 200, answer.text
    rules = answer.json()["data"][0]["rules"]
    assert all("reads" not in rule for rule in rules)
    # The catalogue counts these and no other.
    broken = [rule["severity"] for rule in rules if not rule["passed"]]
    counted = {"kept": len(rules) - len(broken), "broken": broken.count("error"), "warnings": broken.count("warning")}
    (shop,) = (each for each in client.get("/data", headers=headers).json()["data"] if each["product"] == "shop")
    same = client.get("/data/shop/v1", headers=headers).json()["data"]
    items = client.get("/data/shop/v1/items", headers=headers).json()["data"]
    assert [each["quality"]["rules"] for each in (*shop["datasets"], *same["datasets"], items)] == [counted] * 3
    return sorted(rule["rule"] for rule in rules if rule["rule"] not in STANDARD)


def test_a_rule_is_told_to_whoever_may_see_all_that_it_reads(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(STAFF, SHOP)
    assert lab.ingest("staff.salaries", "id,salary\n1,5000\n", "salaries.csv").status == "published"
    assert lab.ingest("shop.items", "id,title,cost\n1,a,7\n", "items.csv").status == "published"
    assert lab.ingest("staff.summary").status == "published"
    blind = key_of(lab, "shop:read")
    seeing = key_of(lab, "shop:read", "shop:read:restricted")
    both = key_of(lab, "shop:read", "shop:read:restricted", "staff:read")
    whole = key_of(lab, "shop:read", "shop:read:restricted", "staff:read", "staff:read:restricted")
    own_open = ["open one", "rows"]
    own = sorted([*own_open, "hidden condition", "hidden one", "hidden row", "one of a metric"])
    with lab.serve() as client:
        assert told(client, blind) == own_open
        assert told(client, seeing) == own
        assert told(client, both) == sorted([*own, "elsewhere counted"])
        assert told(client, whole) == sorted([*own, "elsewhere", "elsewhere counted"])
        # The contract's text holds the rules' SQL, which names what is not to be known.
        text = client.get("/data/shop/v1/contract", headers=blind).text
        assert not [word for word in ("pay_roll", "amount_c", "hidden one", "elsewhere", "cost_c") if word in text]
        assert "open one" in text
        text = client.get("/data/shop/v1/contract", headers=whole).text
        assert "pay_roll" in text
        assert "amount_c" in text
        # What an older version measured says nothing of what it read: then the contract's rule of that name does.
        lab.rows("UPDATE decant.quality_results SET reads = NULL RETURNING 1")
        assert told(client, blind) == own_open
        assert told(client, whole) == sorted([*own, "elsewhere", "elsewhere counted"])
        lab.rows("UPDATE decant.quality_results SET rule = 'gone', reads = NULL WHERE rule = 'rows' RETURNING 1")
        assert "gone" not in told(client, whole)
        # Derived properties are as classified as what they are made of, but for counts and what says why not.
        record = client.get("/data/staff/v1/summary/records", headers=both).json()["data"]
        assert record == [{"id": 1, "heads": 1, "told": 5000}]
        record = client.get("/data/staff/v1/summary/records", headers=whole).json()["data"]
        assert record == [{"id": 1, "top": 5000, "heads": 1, "told": 5000}]
        assert client.get("/data/staff/v1/summary/records?top=5000", headers=both).status_code == 422
