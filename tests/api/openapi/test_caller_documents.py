"""The documents as they are served: never on the event loop, each made once, and nobody's but the caller's own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.auth.authenticator import Principal
from api.auth.permissions import Access, visible_products
from api.openapi import Writer, build_dataset, build_document
from api.openapi.caller_documents import WHOLE_LIMIT_BYTES, Documents, Seen
from api.query.view import Views
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import build_tables
from tests.support.keys import key_of
from tests.support.lab import PEOPLE, Lab

BORN = "{name: born, logicalType: date}"
CLOSED = PEOPLE.replace(BORN, BORN.replace("}", ", classification: confidential}")).replace(
    '  - {role: "people:read", access: read, customProperties: [{property: anonymous, value: true}]}\n',
    '  - {role: young, access: read, customProperties: [{property: rows, value: "age < 40"}]}\n',
)
HIDDEN = CLOSED.replace("id: people\n", "id: hidden\n")
RETIRED = PEOPLE.replace("id: people\n", "id: gone\n").replace("status: active", "status: retired")
OPEN = PEOPLE.replace("id: people\n", "id: open\n").replace("name: People", "name: Open people")
DATASETS, PROPERTIES = 60, 40


def widen(catalog: Catalog) -> Catalog:
    """The one product of a catalog, with many datasets of many properties."""
    (product,) = catalog.products.values()
    (model,) = product.datasets.values()
    columns = [model.properties[name] for name in ("id", "name", "born")]
    more = {}
    for place in range(PROPERTIES):
        name = f"property_{place}"
        more[name] = replace(columns[place % 3], name=name, column=name, raw_columns=(name,), required=False)
    datasets = {}
    for place in range(DATASETS):
        dataset = replace(
            model, name=f"dataset_{place}", table=f"dataset_{place}", properties=dict(model.properties) | more
        )
        datasets[dataset.name] = dataset
    return Catalog({(product.id, product.major): replace(product, datasets=datasets)})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Lab:
    """Products that are open, closed, retired."""
    folder = tmp_path_factory.mktemp("documents")
    contracts = (OPEN, CLOSED, HIDDEN, RETIRED)
    lab = Lab.build(folder, databases.urls(databases.create()), *contracts, rate_limit_default="off")
    lab.migrate()
    return lab


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[httpx.Client]:
    """A client of the service."""
    with lab.serve() as client:
        yield client


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Lab:
    """An open product whose document is large."""
    lab = Lab.build(tmp_path_factory.mktemp("wide"), databases.urls(databases.create()), PEOPLE)
    lab.migrate()
    lab.catalog = widen(lab.catalog)
    return lab


def make_documents(lab: Lab, **limits: int) -> Documents:
    """The documents of a lab's products, in no service."""
    catalog = lab.catalog
    contracts = {product.schema: product.sha256 for product in catalog.products.values()}
    views = Views(build_tables(catalog.products.values()), contracts, b"secret", 8000)
    return Documents(catalog, views, lab.settings, **limits)


def counted(documents: Documents) -> Counter[str]:
    """Counts the documents that are made from here on, by kind and thread."""
    made: Counter[str] = Counter()
    whole, product = documents.make_whole, documents.make_product

    def make_whole(seen: Seen) -> bytes:
        made[f"whole {threading.current_thread().name}"] += 1
        return whole(seen)

    def make_product(seen: Seen) -> bytes:
        made[f"product {threading.current_thread().name}"] += 1
        return product(seen)

    documents.make_whole, documents.make_product = make_whole, make_product  # type: ignore[method-assign]
    return made


def data_paths(document: dict[str, Any]) -> set[str]:
    """The products whose datasets a document describes."""
    return {path.split("/")[2] for path in document["paths"] if path.startswith("/data/") and "{product}" not in path}


@pytest.mark.slow
def test_others_are_answered_while_a_large_document_is_made(wide: Lab) -> None:
    with wide.serve() as client, ThreadPoolExecutor(1) as asking:
        document = asking.submit(httpx.get, str(client.base_url).rstrip("/") + "/openapi/people/v1.json", timeout=300)
        answers = 0
        while not document.done() and answers < 100_000:
            assert client.get("/livez").status_code == 200
            answers += 1
        found = document.result()
        assert found.status_code == 200
        assert len(found.content) > WHOLE_LIMIT_BYTES
        # On the event loop the document would have let one or two through.
        assert answers > 5
        index = client.get("/openapi.json")
        assert len(index.content) < WHOLE_LIMIT_BYTES / 10
        assert data_paths(index.json()) == set()
        assert data_paths(found.json()) == {"people"}
        (entry,) = index.json()["x-documents"]
        assert entry == {"url": "/openapi/people/v1.json", "product": "people", "major": 1, "title": "People"}
        assert client.get(entry["url"]).content == found.content
        for path in ("/data", "/data/{product}/v{major}", "/livez", "/keys", "/operations/loads"):
            assert path in index.json()["paths"]


@pytest.mark.slow
def test_filters_are_spelled_once_for_all_operations_that_take_them(wide: Lab) -> None:
    document = build_document(wide.catalog)
    referred: Counter[str] = Counter()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names = [each["$ref"] for each in operation.get("parameters", []) if "$ref" in each]
            plain = [each["name"] for each in operation.get("parameters", []) if "name" in each]
            assert not any(name.endswith("]") or name.startswith("property_") for name in plain), path
            referred.update(names)
    known = {f"#/components/parameters/{name}" for name in document["components"]["parameters"]}
    assert set(referred) == known
    assert set(referred.values()) == {3}  # records, aggregate and export


@pytest.mark.slow
def test_filters_of_like_names_are_components_of_their_own(lab: Lab) -> None:
    (product,) = (product for product in lab.catalog.products.values() if product.id == "open")
    (model,) = product.datasets.values()
    text = model.properties["name"]

    def name(prop: str) -> dict[str, Any]:
        return {prop: replace(text, name=prop, column=prop, description=f"«{prop}»")}

    def dataset(named: str, *props: str) -> Dataset:
        properties = dict(model.properties) | {key: value for prop in props for key, value in name(prop).items()}
        return replace(model, name=named, properties=properties)

    both = [
        dataset("a.b", "größe", "gräße", "年", "月"),
        dataset("a", "b.id", "b", "b id"),
        dataset("a_b"),
        dataset("a-b"),
    ]
    datasets = {each.name: each for each in both}
    document = build_document(Catalog({("open", 1): replace(product, datasets=datasets)}))
    named = document["components"]["parameters"]
    for each in both:
        operation = document["paths"][f"{each.path}/export"]["get"]
        refs = [one["$ref"].rpartition("/")[2] for one in operation["parameters"] if "$ref" in one]
        filters = [named[ref]["name"] for ref in refs]
        assert len(filters) == len(set(filters))
        assert {f"{prop}[eq]" for prop in each.properties} <= set(filters)
        for prop in each.properties.values():
            (described,) = (named[ref] for ref in refs if named[ref]["name"] == prop.name)
            assert described["description"] == f"{prop.description} Equal to.".strip()
    assert not any(sign >= "\u0080" for name in named for sign in name)


@pytest.mark.slow
def test_bytes_say_the_same_as_the_document(lab: Lab) -> None:
    (product,) = (product for product in lab.catalog.products.values() if product.id == "open")
    catalog = Catalog({("open", 1): product})
    writer = Writer(())
    for dataset in product.datasets.values():
        writer.add(build_dataset(product, dataset))
    assert json.loads(writer.document(catalog, "/", [])) == build_document(catalog) | {"x-documents": []}


@pytest.mark.slow
def test_each_caller_gets_the_document_of_what_is_seen(lab: Lab, client: httpx.Client) -> None:
    callers = {
        "nobody": ({}, {"open"}, None),
        "reader": (key_of(lab, "people:read"), {"open", "people"}, {"id", "name", "age"}),
        "trusted": (
            key_of(lab, "people:read", "people:read:confidential"),
            {"open", "people"},
            {"id", "name", "age", "born"},
        ),
        "young": (key_of(lab, "people:role:young"), {"open", "people"}, {"id", "name", "age"}),
        "stranger": (key_of(lab, "other:read"), {"open"}, None),
    }
    # Twice, so that each is answered from what is kept too.
    for turn in (1, 2):
        for name, (headers, products, properties) in callers.items():
            whole = client.get("/openapi.json", headers=headers).json()
            if turn == 1 and name == "young":
                assert list(OpenAPIV31SpecValidator(whole).iter_errors()) == []
            assert data_paths(whole) == products, name
            assert {each["product"] for each in whole["x-documents"]} == products
            assert "hidden" not in str(whole)
            for entry in whole["x-documents"]:
                one = client.get(entry["url"], headers=headers).json()
                assert data_paths(one) == {entry["product"]}
                assert one["x-documents"] == [entry]
                for path in one["paths"]:
                    assert one["paths"][path] == whole["paths"][path] or path.startswith("/keys"), path
                assert set(one["components"]["parameters"]) <= set(whole["components"]["parameters"])
            if properties is not None:
                record = one["components"]["schemas"]["PeopleV1People"]["properties"]
                assert {name for name, schema in record.items() if schema["type"] != "null"} == properties
                assert ("/data/people/v1/people/profile" in one["paths"]) == (name != "young")


def test_what_is_not_seen_looks_as_if_it_were_not_there(lab: Lab, client: httpx.Client) -> None:
    reader, stranger = key_of(lab, "hidden:read"), key_of(lab, "other:read")
    place, nowhere = "/openapi/hidden/v1.json", "/openapi/nothing/v1.json"
    assert client.get(place, headers=reader).status_code == 200

    def gist(path: str, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        answer = client.get(path, headers=headers)
        body = {name: value for name, value in answer.json().items() if name not in {"instance", "trace_id"}}
        odd = {"date", "traceresponse", "server-timing", "content-length"}
        return answer.status_code, body, {k: v for k, v in answer.headers.items() if k not in odd}

    for headers, status in (({}, 401), (stranger, 404)):
        assert gist(place, headers) == gist(nowhere, headers)
        assert gist(place, headers)[0] == status
    # A tag of the document does not open it either.
    tag = client.get(place, headers=reader).headers["etag"]
    assert client.get(place, headers=reader | {"If-None-Match": tag}).status_code == 304
    assert client.get(place, headers=stranger | {"If-None-Match": tag}).status_code == 404
    for path in ("/openapi/hidden/v2.json", "/openapi/hidden/v01.json", "/openapi/open/v2.json"):
        assert client.get(path, headers=reader).status_code == 404, path
    assert client.get("/openapi/gone/v1.json").json()["code"] == "product_retired"
    assert client.get("/openapi/open/v1.json?x=1").json()["code"] == "unknown_parameter"
    assert client.get("/openapi.json?x=1").json()["code"] == "unknown_parameter"


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi/open/v1.json"])
def test_a_document_is_sent_in_the_coding_that_was_asked_for(client: httpx.Client, path: str) -> None:
    answers = {}
    for coding in ("identity", "gzip", "zstd"):
        answer = client.get(path, headers={"Accept-Encoding": coding})
        assert answer.headers.get("content-encoding", "identity") == coding
        assert answer.headers["cache-control"] == "private, no-cache"
        assert "Authorization" in answer.headers["vary"]
        asked = {"Accept-Encoding": coding, "If-None-Match": answer.headers["etag"]}
        assert client.get(path, headers=asked).status_code == 304
        answers[answer.headers["etag"]] = answer.content
    assert len(answers) == 3
    assert len(set(answers.values())) == 1
    assert client.head(path).status_code == 200


def test_a_document_is_made_once_however_many_ask_and_in_its_own_thread(lab: Lab) -> None:
    documents = make_documents(lab)
    made = counted(documents)
    nobody = Principal(None, frozenset())
    ((product, access),) = visible_products(lab.catalog, nobody)

    async def ask() -> None:
        first = asyncio.ensure_future(documents.of(nobody, "gzip"))
        await asyncio.sleep(0)
        # Whoever began it goes away: the others get it all the same.
        first.cancel()
        asked = [documents.of(nobody, coding) for coding in ("identity", "gzip", "zstd", "gzip")]
        asked += [documents.of_product(product, access, "gzip") for _ in range(3)]
        found = await asyncio.gather(*asked)
        # Three codings; the document of the only product is the whole one.
        assert len({each.tag for each in found}) == 3
        assert documents.making == {}
        again = await documents.of(nobody, "gzip")
        assert again is found[1]
        await documents.close()

    asyncio.run(ask())
    assert {name.rpartition("_")[0]: count for name, count in made.items()} == {
        "whole openapi": 1,
        "product openapi": 1,
    }


@pytest.mark.slow
def test_what_is_kept_is_bounded_by_its_bytes(lab: Lab) -> None:
    size = 60_000
    documents = make_documents(lab, kept_limit=size)
    (product,) = (product for product in lab.catalog.products.values() if product.id == "open")
    made = counted(documents)

    async def ask() -> None:
        for place in range(40):
            access = Access(classifications=frozenset({f"kind {place}"}))
            await documents.of_product(product, access, "gzip")
            assert 0 < documents.bytes <= size
            assert documents.bytes == sum(len(each.body) + 1000 for each in documents.kept.values())
        assert 0 < len(documents.kept) < 40
        # The latest is here, the first has gone.
        await documents.of_product(product, access, "gzip")
        assert made.total() == 40
        await documents.of_product(product, Access(classifications=frozenset({"kind 0"})), "gzip")
        assert made.total() == 41
        await documents.close()

    asyncio.run(ask())


def test_a_failure_is_told_to_whoever_waits_and_not_kept(lab: Lab) -> None:
    documents = make_documents(lab)
    nobody = Principal(None, frozenset())
    original = documents.make_whole

    def fail(seen: Seen) -> bytes:
        raise OSError("broken")

    async def ask() -> None:
        documents.make_whole = fail  # type: ignore[method-assign]
        found = await asyncio.gather(*(documents.of(nobody, "identity") for _ in range(3)), return_exceptions=True)
        assert [str(each) for each in found] == ["broken"] * 3
        assert (documents.making, documents.bytes) == ({}, 0)
        documents.make_whole = original  # type: ignore[method-assign]
        assert (await documents.of(nobody, "identity")).body.startswith(b'{"openapi":"3.1.0"')
        await documents.close()

    asyncio.run(ask())


@pytest.mark.parametrize("spare", [-1, 0])
def test_a_document_is_whole_up_to_its_limit(lab: Lab, spare: int) -> None:
    nobody = Principal(None, frozenset())

    async def ask(**limits: int) -> bytes:
        documents = make_documents(lab, **limits)
        found = await documents.of(nobody, "identity")
        await documents.close()
        return found.body

    whole = asyncio.run(ask())
    limited = asyncio.run(ask(whole_limit=len(whole) + spare))
    assert (limited == whole) == (spare == 0)
    assert (b"/data/open/" in limited) == (spare == 0)


def test_the_page_offers_a_selector_and_its_script_asks_this_service_alone(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert '<select id="documents">' in page
    script = client.get("/static/docs.js").text
    assert "`${base}/openapi.json`" in script
    assert "`${base}/openapi/${encodeURIComponent(product)}/v${major}.json`" in script
    assert "http" not in script


MakeLab = Callable[..., Lab]


def test_a_product_at_an_absolute_address_is_named_there(make_lab: MakeLab) -> None:
    lab = make_lab(OPEN, public_url="https://data.example/sub")
    documents = make_documents(lab)

    async def ask() -> bytes:
        found = await documents.of(Principal(None, frozenset()), "identity")
        await documents.close()
        return found.body

    assert b'"x-documents":[{"url":"https://data.example/sub/openapi/open/v1.json"' in asyncio.run(ask())
