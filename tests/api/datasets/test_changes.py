"""The change feed: copies that keep in step, and what a walk over changes promises."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.documents import read_example
from tests.support.lab import Lab, walk
from tests.support.pushing import make_key
from tests.support.shops import make_shop

STOCK = make_shop(
    """
  - name: stock
    customProperties:
      - {property: input, value: {server: here, path: stock.csv, mode: snapshot, nullValues: [""]}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: place, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
      - {name: article, logicalType: integer, primaryKey: true, primaryKeyPosition: 2}
      - {name: pieces, logicalType: integer}
      - {name: cost, logicalType: number, classification: restricted}
"""
)
DATASET = "/data/shop/v1/stock"
Stock = dict[tuple[str, int], int | None]


@pytest.fixture
def shop(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(STOCK)


def load(shop: Lab, stock: Stock, cost: float = 1.5) -> None:
    """Publishes a snapshot of this stock."""
    lines = [
        f'"{place}",{article},{"" if pieces is None else pieces},{cost}\n'
        for (place, article), pieces in stock.items()
    ]
    shop.ingest("shop.stock", "place,article,pieces,cost\n" + "".join(lines).replace('"q"t"', '"q""t"'), "stock.csv")


def load_one(make_lab: Callable[..., Lab]) -> Lab:
    shop = make_lab(STOCK)
    load(shop, {("Ghent", 1): 1})
    return shop


def shuffle(stock: Stock, source: random.Random) -> Stock:
    """The stock after some sales, arrivals and closures; now and then none at all, or all anew."""
    changed = dict(stock)
    for _ in range(source.choice([0, 1, 3, 10, 40])):
        key = (source.choice(["Ghent", "a,b", 'q"t', "Zürich"]), source.randrange(30))
        if source.random() < 0.35:
            changed.pop(key, None)
        else:
            changed[key] = source.choice([None, 1, 2, 3])
    return changed if source.random() > 0.05 else dict.fromkeys(changed or stock, 7)


def records_at(client: httpx.Client, revision: int) -> dict[tuple[Any, ...], Any]:
    """Every record of a revision, by key."""
    found = walk(client, f"{DATASET}/records?at={revision}&limit=1000") if revision else []
    return {(record["place"], record["article"]): record for record in found}


@pytest.mark.slow
def test_a_copy_keeps_in_step_through_fifty_loads(client: httpx.Client, shop: Lab) -> None:
    sync = read_example()
    source = random.Random(11)
    stock: Stock = {("Ghent", 1): 1}
    with sqlite3.connect(":memory:") as copy:
        for number in range(50):
            stock = shuffle(stock, source)
            load(shop, stock)
            if number % 3 == 1:
                continue  # sometimes several publications lie between two looks
            head = shop.rows("SELECT revision FROM decant.datasets WHERE dataset = 'stock'")[0][0]
            client.headers["Decant-Min-Revision"] = str(head)
            assert sync(client, DATASET, copy) == head
            copied = {key: json.loads(body) for key, body in copy.execute("SELECT key, body FROM record")}
            found = walk(client, f"{DATASET}/records?limit=1000")
            assert sorted(copied.values(), key=str) == sorted(found, key=str)
            assert {(r["place"], r["article"]): r["pieces"] for r in found} == stock
    copy.close()


def test_changes_are_the_difference_of_any_two_revisions(client: httpx.Client, shop: Lab) -> None:
    source = random.Random(5)
    stock: Stock = {("Ghent", 1): 1}
    for _ in range(12):
        stock = shuffle(stock, source)
        load(shop, stock)
    head = shop.rows("SELECT revision FROM decant.datasets WHERE dataset = 'stock'")[0][0]
    revisions = [records_at(client, revision) for revision in range(head + 1)]
    for since in range(head + 1):
        for until in (source.randrange(max(since, 1), head + 1), head):
            pinned = source.choice(["", f"&at={until}"]) if until == head else f"&at={until}"
            limit = source.choice([1, 3, 1000])
            changes = walk(client, f"{DATASET}/changes?since={since}{pinned}&limit={limit}")
            check_difference(changes, revisions[since], revisions[until])


def check_difference(changes: list[dict[str, Any]], older: dict[Any, Any], newer: dict[Any, Any]) -> None:
    """Fails unless the changes make the newer records of the older ones, with no more than is needed."""
    keys = [(c["key"]["place"], c["key"]["article"]) for c in changes]
    assert keys == sorted(set(keys)), "each key once, in order"
    expected: dict[tuple[Any, ...], tuple[str, Any]] = {}
    for key in older.keys() | newer.keys():
        before, after = older.get(key), newer.get(key)
        if after is None:
            expected[key] = ("deleted", None)
        elif before is None:
            expected[key] = ("inserted", after)
        elif before != after:
            expected[key] = ("updated", after)
    found = {key: (c["change"], c["record"]) for key, c in zip(keys, changes, strict=True)}
    # What was changed and changed back is told as an update, which harms no copy.
    for key in found.keys() - expected.keys():
        assert found[key] == ("updated", newer[key])
    assert {key: found[key] for key in expected} == expected


@pytest.mark.slow
def test_a_walk_up_to_a_moment_ends_there_whatever_comes(client: httpx.Client, shop: Lab) -> None:
    for pieces in (1, 2, 3):
        load(shop, {("Ghent", article): pieces for article in range(6 + pieces)})
    moment = shop.rows("SELECT published_at FROM decant.revisions WHERE revision = 2")[0][0].isoformat()
    first = client.get(f"{DATASET}/changes", params={"since": 1, "at": moment, "limit": 5})
    assert first.headers["Decant-Revision"] == "2"
    load(shop, {("Ghent", 1): 9})
    last = client.get(first.json()["next"])
    facts = last.json()
    assert [c["record"]["pieces"] for c in first.json()["data"] + facts["data"]] == [2] * 8
    assert (facts["revision"], facts["since"], facts["next"], facts["next_since"]) == (2, 1, None, 2)
    assert facts["next_epoch"] == last.headers["Decant-Epoch"]
    onward = client.get(f"{DATASET}/changes?since={facts['next_since']}&epoch={facts['next_epoch']}&at=3").json()
    assert [c["change"] for c in onward["data"]] == ["updated"] * 8 + ["inserted"]
    # A cursor belongs to one end of the walk.
    cursor = first.json()["next"].partition("cursor=")[2]
    assert client.get(f"{DATASET}/changes?since=1&at=3&cursor={cursor}").json()["code"] == "invalid_cursor"


@pytest.mark.slow
def test_a_walk_that_would_end_before_it_begins_is_refused(client: httpx.Client, shop: Lab) -> None:
    for pieces in (1, 2, 3):
        load(shop, {("Ghent", 1): pieces})
    client.headers["Decant-Min-Revision"] = "3"
    answer = client.get(f"{DATASET}/changes?since=3&at=2")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_value")
    assert answer.json()["errors"][0] == {"parameter": "at", "message": "revision 2 comes before since=3"}
    assert client.get(f"{DATASET}/changes?since=2&at=2").json()["data"] == []
    for query, code in (
        ("since=4&at=2", "invalid_value"),
        ("since=1&at=4", "invalid_value"),
        ("since=0&at=0", "revision_gone"),
        ("since=0&at=2013-01-01", "invalid_value"),
        ("since=0&at=2013-01-01T00:00:00Z", "revision_gone"),
    ):
        assert client.get(f"{DATASET}/changes?{query}").json()["code"] == code


@pytest.mark.slow
def test_a_walk_over_changes_ends_where_it_began(client: httpx.Client, shop: Lab) -> None:
    load(shop, {("Ghent", article): 1 for article in range(10)})
    first = client.get(f"{DATASET}/changes?since=0&limit=4").json()
    assert (first["revision"], first["since"], first["next_since"]) == (1, 0, None)
    load(shop, {("Ghent", article): 2 for article in range(5, 15)})
    second = client.get(first["next"]).json()
    last = client.get(second["next"]).json()
    seen = [change["record"]["pieces"] for page in (first, second, last) for change in page["data"]]
    assert seen == [1] * 10
    assert (last["revision"], last["next"], last["next_since"]) == (1, None, 1)


def test_what_a_caller_does_not_see_is_not_told(client: httpx.Client, shop: Lab) -> None:
    load(shop, {("Ghent", 1): 1})
    (change,) = client.get(f"{DATASET}/changes?since=0").json()["data"]
    assert change == {
        "change": "inserted",
        "key": {"place": "Ghent", "article": 1},
        "record": {"place": "Ghent", "article": 1, "pieces": 1},
    }
    refused = client.get(f"{DATASET}/changes?since=0&properties=cost")
    assert refused.json()["code"] == "unknown_parameter"


@pytest.mark.slow
def test_changes_of_what_a_caller_does_not_see_are_none(shop: Lab) -> None:
    whole = make_key(shop, "shop:read", "shop:read:restricted")
    with shop.serve() as client:
        for loaded in ({1: 1, 2: 1, 3: 1, 4: None}, {1: 1, 2: 2, 4: None, 5: 1}):
            cost = float(len(loaded)) + loaded.get(5, 0)
            load(shop, {("Ghent", article): pieces for article, pieces in loaded.items()}, cost)
        client.headers["Decant-Min-Revision"] = "2"

        def changes(key: dict[str, str], since: int) -> list[tuple[int, str]]:
            client.headers.pop("Authorization", None)
            client.headers.update(key)
            found = walk(client, f"{DATASET}/changes?since={since}&limit=1")
            return [(change["key"]["article"], change["change"]) for change in found]

        told = [(2, "updated"), (3, "deleted"), (5, "inserted")]
        assert changes({}, 1) == told
        assert changes(whole, 1) == sorted([*told, (1, "updated"), (4, "updated")])
        assert [article for article, _ in changes({}, 0)] == [1, 2, 4, 5]
        # A revision behind the head, whose records lie in history by then.
        load(shop, {("Ghent", 1): 1}, cost=9)
        client.headers["Decant-Min-Revision"] = "3"
        assert changes({}, 2) == [(2, "deleted"), (4, "deleted"), (5, "deleted")]


@pytest.mark.slow
def test_a_pruned_revision_is_gone_with_a_hint(client: httpx.Client, shop: Lab) -> None:
    for pieces in (1, 2, 3):
        load(shop, {("Ghent", 1): pieces})
    with psycopg.connect(shop.urls.owner, autocommit=True) as connection:
        connection.execute("UPDATE decant.datasets SET oldest_revision = 3 WHERE dataset = 'stock'")
    client.headers["Decant-Min-Revision"] = "3"
    gone = client.get(f"{DATASET}/changes?since=1")
    assert gone.status_code == 410
    assert "since=0" in gone.json()["detail"]
    assert client.get(f"{DATASET}/changes?since=0").status_code == 200
    assert client.get(f"{DATASET}/changes?since=3").json()["data"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "invalid_value"),
        ("since=9", "invalid_value"),
        ("since=-1", "invalid_value"),
        ("since=1e3", "invalid_value"),
        ("since=0&since=0", "duplicate_parameter"),
        ("since=0&pieces=1", "unknown_parameter"),
        ("since=0&limit=1001", "limit_out_of_range"),
        ("since=0&cursor=x", "invalid_cursor"),
    ],
)
def test_what_makes_no_sense_is_refused(shared_labs: Callable[..., Lab], query: str, code: str) -> None:
    with shared_labs(load_one).serve() as client:
        answer = client.get(f"{DATASET}/changes?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)
