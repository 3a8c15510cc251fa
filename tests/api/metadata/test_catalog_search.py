"""The search of the catalogue: what is found, in which order, and what callers learn of what they do not see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.auth.permissions import Access
from api.metadata.search_index import SearchIndex
from catalog.contract.load import load_catalog
from catalog.model.catalog import Catalog
from runtime.settings.settings import load_settings
from tests.support.lab import Lab
from tests.support.pushing import make_key

AIR = """
apiVersion: v3.1.0
kind: DataContract
id: air-traffic
name: Air traffic
version: 1.0.0
status: active
domain: transport
tags: [aviation]
description: {purpose: Punctuality of departures.}
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
slaProperties:
  - {property: latency, value: 1, unit: d, element: delay.day}
schema:
  - name: routes
    description: How late each route is.
    tags: [derived]
    customProperties: [{property: input, value: {server: here, path: routes.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: arrivalDelay, logicalType: integer, description: Minutes at the gate.}
      - {name: pilot_salary, logicalType: integer, classification: restricted, description: Confidential wages.}
  - name: delay
    description: One record per departure.
    customProperties: [{property: input, value: {server: here, path: delay.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: day, logicalType: date}
      - {name: departure_delay, logicalType: integer}
  - name: delay_causes
    customProperties: [{property: input, value: {server: here, path: causes.csv}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - name: blame
        logicalType: string
        classification: restricted
        customProperties: [{property: masking, value: "null"}]
"""
RAIL = """
apiVersion: v3.1.0
kind: DataContract
id: rail
name: Trains
version: 2.1.0
status: deprecated
tags: [aviation, rails]
schema:
  - name: trains
    description: Trains and their delays.
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
  - name: drivers
    tags: [staff]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: overtime, logicalType: integer}
roles:
  - {role: trains, access: read, customProperties: [{property: rows, value: {trains: "id < 10"}}]}
"""
READERS = ("air-traffic:read", "rail:read")


def load_both(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(AIR, RAIL)
    lab.ingest("air-traffic.delay", "id,day,departure_delay\n1,2013-01-01,5\n", "delay.csv")
    return lab


@pytest.fixture
def lab(shared_labs: Callable[..., Lab]) -> Lab:
    return shared_labs(load_both)


@pytest.fixture
def client(lab: Lab) -> Iterator[httpx.Client]:
    with lab.serve() as client:
        yield client


def ask(client: httpx.Client, lab: Lab, query: str, *scopes: str) -> dict[str, Any]:
    """The catalogue that a query leaves."""
    answer = client.get(f"/data?{query}", headers=make_key(lab, *(scopes or READERS)))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def names(found: dict[str, Any]) -> list[str]:
    """The datasets, in their order."""
    return [
        f"{product['product']}.{dataset['dataset']}" for product in found["data"] for dataset in product["datasets"]
    ]


def matched(found: dict[str, Any]) -> dict[str, list[tuple[str, str | None]]]:
    """Where the words stand, by dataset."""
    datasets = [dataset for product in found["data"] for dataset in product["datasets"]]
    return {each["dataset"]: [(place["in"], place["property"]) for place in each["matched"]] for each in datasets}


def counts(found: dict[str, Any], facet: str) -> dict[Any, int]:
    """How many datasets have each value of a facet."""
    return {each["value"]: each["count"] for each in found["facets"][facet]}


@pytest.mark.slow
def test_the_best_names_come_first(client: httpx.Client, lab: Lab) -> None:
    found = ask(client, lab, "q=delay")
    # The name itself, a name that begins with it, a property's name, a description.
    assert names(found) == ["air-traffic.delay", "air-traffic.delay_causes", "air-traffic.routes", "rail.trains"]
    assert matched(found) == {
        "delay": [("name", None), ("property", "departure_delay")],
        "delay_causes": [("name", None)],
        "routes": [("property", "arrivalDelay")],
        "trains": [("description", None)],
    }
    assert found["data"][0]["datasets"][0]["records_url"] == "/data/air-traffic/v1/delay/records"
    assert names(ask(client, lab, "q=trains")) == ["rail.trains", "rail.drivers"]
    assert matched(ask(client, lab, "q=trains"))["drivers"] == [("product", None)]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("text", "datasets"),
    [
        ("DELAY gate", ["air-traffic.routes"]),
        ("transport minutes", ["air-traffic.routes"]),
        ("avia del", ["air-traffic.delay", "air-traffic.delay_causes", "air-traffic.routes", "rail.trains"]),
        ("arrivalDelay", ["air-traffic.routes"]),
        ("arrivaldel", ["air-traffic.routes"]),
        ("departure_delay", ["air-traffic.delay", "air-traffic.delay_causes", "air-traffic.routes"]),
        ("derived", ["air-traffic.routes"]),
        ("elay", []),
        ("delay nothing", []),
    ],
)
def test_all_words_begin_words_that_are_there(client: httpx.Client, lab: Lab, text: str, datasets: list[str]) -> None:
    assert names(ask(client, lab, f"q={text.replace(' ', '+')}")) == datasets


def test_hidden_properties_are_not_found_and_masked_ones_by_name(client: httpx.Client, lab: Lab) -> None:
    for text in ("salary", "pilot", "wages", "confidential"):
        assert ask(client, lab, f"q={text}") == ask(client, lab, "q=nosuchword")
        found = ask(client, lab, f"q={text}", *READERS, "air-traffic:read:restricted")
        assert matched(found) == {"routes": [("property", "pilot_salary")]}
    assert matched(ask(client, lab, "q=blame")) == {"delay_causes": [("property", "blame")]}


def test_who_sees_some_records_finds_what_it_sees(client: httpx.Client, lab: Lab) -> None:
    limited = "rail:role:trains"
    whole = ask(client, lab, "", limited)
    assert names(whole) == ["rail.trains"]
    assert counts(whole, "tag") == {"aviation": 1, "rails": 1}
    assert names(ask(client, lab, "q=trains", limited)) == ["rail.trains"]
    for query in ("q=overtime", "q=staff", "tag=staff", "product=air-traffic", "q=delay&status=active"):
        assert ask(client, lab, query, limited)["data"] == []
    assert b"record_count" not in client.get("/data?q=trains", headers=make_key(lab, limited)).content
    assert client.get("/data?q=delay").json() == {"data": [], "facets": {facet: [] for facet in whole["facets"]}}


def test_facets_narrow_and_count_as_if_they_were_not_chosen(client: httpx.Client, lab: Lab) -> None:
    found = ask(client, lab, "")
    assert "matched" not in found["data"][0]["datasets"][0]
    assert counts(found, "product") == {"air-traffic": 3, "rail": 2}
    assert counts(found, "tag") == {"aviation": 5, "rails": 2, "derived": 1, "staff": 1}
    assert counts(found, "status") == {"active": 3, "deprecated": 2}
    assert counts(found, "fresh") == {False: 1}
    narrowed = ask(client, lab, "q=delay&status=deprecated")
    assert names(narrowed) == ["rail.trains"]
    assert counts(narrowed, "status") == {"active": 3, "deprecated": 1}
    assert counts(narrowed, "product") == {"rail": 1}
    assert names(ask(client, lab, "tag=derived,staff")) == ["air-traffic.routes", "rail.drivers"]
    assert names(ask(client, lab, "tag=derived&tag=staff&product=rail")) == ["rail.drivers"]
    assert names(ask(client, lab, "fresh=false")) == ["air-traffic.delay"]
    assert ask(client, lab, "fresh=true")["data"] == []
    assert len(names(ask(client, lab, "status=active,deprecated"))) == 5


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("query=delay", "unknown_parameter"),
        ("q=", "invalid_value"),
        ("q=%20-_%20", "invalid_value"),
        ("q=a&q=b", "duplicate_parameter"),
        ("q=a+b+c+d+e+f+g+h+i", "query_too_complex"),
        (f"q={'a' * 2000}", "query_too_complex"),
        ("q=%00", "invalid_text"),
        ("status=retired", "invalid_value"),
        ("fresh=yes", "invalid_value"),
        ("tag=", "invalid_value"),
        (f"tag={','.join('abc' * 100)}", "query_too_complex"),
    ],
)
def test_what_makes_no_sense_is_refused(client: httpx.Client, lab: Lab, query: str, code: str) -> None:
    answer = client.get(f"/data?{query}", headers=make_key(lab, *READERS))
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


def find_naively(catalog: Catalog, text: str) -> set[str]:
    """The datasets that hold all words, by looking at every word of every text."""
    found = set()
    for dataset in catalog.datasets():
        product = catalog.product_of(dataset)
        texts = [product.id, product.name, product.description, dataset.name, dataset.title, dataset.description]
        texts += [text for prop in dataset.properties.values() for text in (prop.name, prop.description)]
        words = {word for each in texts for word in re.split("[^a-z0-9]+", each.lower())}
        asked = [word for word in re.split("[^a-z0-9]+", text.lower()) if word]
        if all(any(word.startswith(each) for word in words) for each in asked):
            found.add(dataset.address)
    return found


WORDS = st.text("abc", min_size=1, max_size=3)
TEXTS = st.lists(WORDS, min_size=1, max_size=4)
NAMES = st.tuples(TEXTS.map("_".join), TEXTS.map(" ".join))
KEY = "    properties:\n      - {name: key, logicalType: integer, primaryKey: true}\n"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    described=st.lists(NAMES, min_size=1, max_size=5, unique_by=lambda pair: pair[0]),
    searched=st.lists(TEXTS.map(" ".join), min_size=1, max_size=5),
)
def test_the_index_finds_what_looking_at_everything_finds(
    tmp_path: Path, described: list[tuple[str, str]], searched: list[str]
) -> None:
    properties = "".join(
        f"      - {{name: {name}, logicalType: integer, description: '{text}'}}\n" for name, text in described
    )
    datasets = "".join(f"  - name: {name}x\n{KEY}{properties}" for name, _ in described[:2])
    head = "apiVersion: v3.1.0\nkind: DataContract\nid: cab\nversion: 1.0.0\nstatus: active\nschema:\n"
    (tmp_path / "cab.yaml").write_text(head + datasets)
    catalog = load_catalog(load_settings(contracts=tmp_path, home=tmp_path))
    index = SearchIndex(catalog)
    for text in searched:
        found = index.search(text, {"cab_v1": Access()})
        assert {f"cab@1.{name}" for _, name in found if name} == find_naively(catalog, text)
