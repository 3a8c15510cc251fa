"""Pages of a dataset in partitions come from indexes in their order: nothing is read or sorted as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.auth.permissions import Access
from api.database.statement import Statement
from api.datasets.records_sql import PageShape, compile_page
from api.query.condition import Filter
from api.query.view import View, Views
from api.sql.keyset import order_of
from api.sql.pagination import After
from api.sql.selection import HEAD, OLDER, Age
from catalog.storage.dataset_tables import build_tables
from ingest.publishing.staging import vacuum
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab, walk

RECORDS = 20_000
LIMIT = 10
MOST_SORTED = 2_000  # rows that a plan may sort: those of pages, never of a table
CONTRACT = PEOPLE.replace("mode: snapshot", "mode: upsert").replace(
    "      - {property: maxDeleted, value: 100}\n",
    "      - {property: maxDeleted, value: 100}\n      - {property: partitions, value: 8}\n",
)
CONTRACT = CONTRACT.replace(
    "logicalType: date}", "logicalType: date, customProperties: [{property: indexed, value: true}]}"
)
FIRST, SECOND = Age(1, (1,)), Age(1, (2,))


def load(make_lab: Callable[..., Lab]) -> Lab:
    """20,000 records, half of them changed once."""
    lab = make_lab(CONTRACT)
    for name, step in (("Ann", 1), ("Bob", 2)):
        lines = (f"{n},{name},{n % 100},20{n % 70:02}-01-31\n" for n in range(0, RECORDS, step))
        lab.ingest("people.people", "id,name,age,born\n" + "".join(lines))
    vacuum(make_engine(lab.urls.owner), build_tables(lab.catalog.products.values()).of(lab.dataset("people.people")))
    return lab


@pytest.fixture
def lab(product: Callable[[Callable[..., Lab]], Lab]) -> Lab:
    return product(load)


def find_view(lab: Lab) -> View:
    dataset = lab.dataset("people.people")
    views = Views(build_tables(lab.catalog.products.values()), {dataset.schema: ""}, bytes(32), 8_000)
    return views.of(dataset, Access())


def explain(lab: Lab, statement: Statement) -> list[dict[str, Any]]:
    """The nodes of the plan that serves all values."""
    rows = lab.rows(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {statement.text.decode().replace('%', '%%')}")
    plan = rows[0][0] if isinstance(rows[0][0], list) else json.loads(rows[0][0])
    return list(nodes(plan[0]["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def check(found: list[dict[str, Any]]) -> None:
    scanned = {node["Relation Name"]: node["Node Type"] for node in found if "Relation Name" in node}
    partitions = {name: kind for name, kind in scanned.items() if name.startswith("_people")}
    assert len(partitions) >= 8
    assert set(partitions.values()) <= {"Index Scan", "Index Only Scan"}, partitions
    # An incremental sort orders the records of one value at a time.
    assert [node for node in found if node["Node Type"] == "Sort" and node["Plan Rows"] > MOST_SORTED] == []


@pytest.mark.sampled
@pytest.mark.parametrize("age", [HEAD, FIRST, SECOND, OLDER], ids=["head", "first", "second", "older"])
@pytest.mark.parametrize("after", [None, After((False,), (False,))], ids=["begin", "cursor"])
def test_a_page_by_key_merges_the_partitions_in_the_order_of_their_keys(
    lab: Lab, age: Age, after: After | None
) -> None:
    view = find_view(lab)
    shape = PageShape((), order_of(view.dataset, ()), view.properties, LIMIT, age, after)
    found = explain(lab, compile_page(view, shape))
    check(found)
    assert "Merge Append" in {node["Node Type"] for node in found}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_sort_by_an_indexed_property_does_so_too(lab: Lab, descending: bool, after: bool) -> None:
    view = find_view(lab)
    order = order_of(view.dataset, (("born", descending),))
    behind = After((False, False), (False,)) if after else None
    found = explain(lab, compile_page(view, PageShape((), order, view.properties, LIMIT, HEAD, behind)))
    check(found)
    assert "Merge Append" in {node["Node Type"] for node in found}


def test_a_filter_by_an_indexed_property_finds_its_records_in_the_order_of_the_key(lab: Lab) -> None:
    view = find_view(lab)
    shape = PageShape((Filter("born", "eq"),), order_of(view.dataset, ()), view.properties, LIMIT, HEAD, None)
    check(explain(lab, compile_page(view, shape)))


@pytest.mark.slow
def test_walks_are_in_order_and_an_estimate_sums_over_the_partitions(lab: Lab) -> None:
    base = "/data/people/v1/people"
    with lab.serve() as client:
        for at, most in ((1, 1), (2, 2)):
            ids = [record["id"] for record in walk(client, f"{base}/records?limit=1000&at={at}&properties=id")]
            assert ids == list(range(RECORDS))
            changed = walk(client, f"{base}/changes?since={at - 1}&limit=1000")
            assert len(changed) == RECORDS // most
        backwards = walk(client, f"{base}/records?limit=1000&sort=-born&properties=id,born&age[lt]=50")
        assert len(backwards) == RECORDS // 2
        assert [record["born"] for record in backwards] == sorted((r["born"] for r in backwards), reverse=True)
        total = client.get(f"{base}/records?count=estimated&age[gte]=50&limit=1").json()["count"]
        assert 0.8 * RECORDS / 2 < total["value"] < 1.2 * RECORDS / 2
        assert client.get(f"{base}/records/777").json()["data"]["id"] == 777
