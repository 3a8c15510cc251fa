"""Names of schemas and operations: no two datasets share one, whatever they are called, and most read like them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.http.problems import KINDS
from api.openapi import build_document
from api.openapi_parts.names import PAGE, RAW, operation_id, schema_name
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from tests.support.examples import examples
from tests.support.lab import Lab
from tests.support.pushing import SENSORS

DatasetKey = tuple[str, int, str]  # product, major, dataset
# Words that names are made of, among them those of verbs, of schemas and of versions.
WORDS = ["a", "b", "A", "ab", "1", "v1", "V2", "page", "raw", "Page", "changes", "loads", "profile", "orders"]
PUNCTUATION = ["-", "_", ".", "--", "_-"]


@st.composite
def names(draw: st.DrawFn) -> str:
    """A name as contracts may have it."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
    signs = draw(st.lists(st.sampled_from(PUNCTUATION), min_size=len(words), max_size=len(words)))
    whole = "".join(word + sign for word, sign in zip(words, signs, strict=True))
    return whole.rstrip("-_.") if draw(st.booleans()) else whole


PLACES = st.lists(st.tuples(names(), st.integers(0, 2), names()), min_size=2, max_size=12, unique=True)


def dataset_at(model: Dataset, place: DatasetKey) -> Dataset:
    """The dataset under another name."""
    return replace(model, product=place[0], major=place[1], name=place[2])


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Catalog:
    """A product whose datasets take pushed records: every kind of operation there is."""
    return Lab.build(tmp_path_factory.mktemp("names"), databases.urls("none"), SENSORS).catalog


@pytest.fixture(scope="module")
def verbs(catalog: Catalog) -> list[str]:
    """What operations about a dataset begin with."""
    (model, *_) = catalog.datasets()
    ending = operation_id("", model)
    found = [verb for verb in operation_ids(build_document(catalog)) if verb.endswith(ending)]
    assert len(found) > 10
    return [verb.removesuffix(ending) for verb in found]


def operation_ids(document: dict[str, Any]) -> list[str]:
    """The names of all operations."""
    return [each["operationId"] for operations in document["paths"].values() for each in operations.values()]


@settings(max_examples=examples(300), deadline=None)
@given(places=PLACES)
def test_no_two_datasets_share_a_name(catalog: Catalog, verbs: list[str], places: list[DatasetKey]) -> None:
    model = next(iter(catalog.datasets()))
    found = [dataset_at(model, place) for place in places]
    schemas = [schema_name(each) + ending for each in found for ending in ("", PAGE, RAW)]
    assert len(set(schemas)) == len(schemas)
    operations = [operation_id(verb, each) for each in found for verb in verbs]
    assert len(set(operations)) == len(operations)
    # No generator trips over one.
    assert all(name.isascii() and name.replace("_", "").isalnum() for name in (*schemas, *operations))


@pytest.mark.slow
def test_names_that_differ_in_their_punctuation_alone_are_operations_and_schemas_of_their_own(
    catalog: Catalog,
) -> None:
    ((key, product),) = catalog.products.items()
    model = next(iter(product.datasets.values()))
    named = {name: replace(model, name=name) for name in ("a-b", "a_b", "a.b", "A_b", "a_b_page", "a_b_raw")}
    document = build_document(Catalog({key: replace(product, datasets=named)}))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    found = operation_ids(document)
    assert len(set(found)) == len(found)
    for each in named.values():
        page = document["paths"][f"{each.path}/records"]["get"]["responses"]["200"]["content"]["application/json"]
        schema = document["components"]["schemas"][page["schema"]["$ref"].rpartition("/")[2]]
        assert schema["properties"]["data"]["items"]["$ref"].endswith("/" + schema_name(each))


@pytest.mark.parametrize(
    ("place", "schema", "operation"),
    [
        (("nyc-flights", 1, "flights"), "NycFlightsV1Flights", "list_nyc_flights_v1_flights"),
        (("shop", 12, "late_orders"), "ShopV12LateOrders", "list_shop_v12_late_orders"),
        (("shop", 1, "late-orders"), "ShopV1LateOrders_4f95d14b", "list_shop_v1_late_orders__4f95d14b"),
        (("shop", 1, "late.orders"), "ShopV1LateOrders_46afbe82", "list_shop_v1_late_orders__46afbe82"),
    ],
)
def test_names_read_like_what_they_name_and_stay(
    catalog: Catalog, place: DatasetKey, schema: str, operation: str
) -> None:
    dataset = dataset_at(next(iter(catalog.datasets())), place)
    assert schema_name(dataset) == schema
    assert operation_id("list", dataset) == operation


def test_an_answer_that_many_operations_share_is_spelled_once(catalog: Catalog) -> None:
    document = build_document(catalog)
    named = document["components"]["responses"]
    used = set()
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                assert "application/problem+json" not in answer.get("content", {})
                if "$ref" in answer:
                    assert answer["$ref"] == f"#/components/responses/Problem{status}"
                    used.add(f"Problem{status}")
    assert set(named) == used
    for name, answer in named.items():
        kinds = [code for code, kind in KINDS.items() if name == f"Problem{kind.status}"]
        assert kinds
        assert all(f"`{code}`" in answer["description"] for code in kinds)
