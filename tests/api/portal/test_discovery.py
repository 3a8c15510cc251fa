"""Documents for machines: read by the libraries that read them elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import httpx
import pytest

from tests.support.lab import Lab
from tests.support.portal import load_shop

ORDERS = "/browse/shop/v1/orders"
RDF_WARNS = pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib", "ignore:.*ConjunctiveGraph")
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def client(product: Callable[[Any], Lab]) -> Any:
    """A client of the shop."""
    with product(load_shop).serve() as found:
        yield found


@pytest.mark.slow
@RDF_WARNS
def test_croissant_is_valid_and_its_file_has_the_columns_that_it_names(client: httpx.Client, tmp_path: Path) -> None:
    import mlcroissant

    answer = client.get(f"{ORDERS}/croissant.json")
    assert answer.headers["content-type"] == "application/ld+json"
    file = tmp_path / "croissant.json"
    file.write_bytes(answer.content)
    dataset = mlcroissant.Dataset(str(file))
    assert not dataset.metadata.ctx.issues.errors
    document = answer.json()
    header = client.get(document["distribution"][0]["contentUrl"]).text.splitlines()[0]
    columns = [field["source"]["extract"]["column"] for field in document["recordSet"][0]["field"]]
    assert header == ",".join(columns)


@RDF_WARNS
def test_dcat_says_where_each_dataset_lies(client: httpx.Client) -> None:
    from rdflib import Graph, Namespace
    from rdflib.namespace import DCTERMS, RDF

    dcat = Namespace("http://www.w3.org/ns/dcat#")
    graph = Graph().parse(data=client.get("/catalog.jsonld").text, format="json-ld")
    catalogs = list(graph.subjects(RDF.type, dcat.Catalog))
    assert len(catalogs) == 1
    for needed in (DCTERMS.title, DCTERMS.description, DCTERMS.publisher):
        assert list(graph.objects(catalogs[0], needed))
    datasets = list(graph.objects(catalogs[0], dcat.dataset))
    assert [str(found).rpartition("/browse/")[2] for found in datasets] == ["shop/v1/orders"]
    files = list(graph.objects(datasets[0], dcat.distribution))
    assert len(files) == 5
    for found in files:
        url = str(next(graph.objects(found, dcat.downloadURL)))
        assert client.get(url, follow_redirects=True).status_code == 200


def test_the_feed_has_an_entry_for_each_revision(client: httpx.Client) -> None:
    answer = client.get(f"{ORDERS}/revisions.atom")
    assert answer.headers["content-type"] == "application/atom+xml"
    feed = Xml.fromstring(answer.content)
    assert [entry.findtext(f"{ATOM}title") for entry in feed.findall(f"{ATOM}entry")] == ["Revision 2", "Revision 1"]
    ids = [entry.findtext(f"{ATOM}id") for entry in feed.findall(f"{ATOM}entry")]
    assert len(set(ids)) == 2
    changes = feed.find(f"{ATOM}entry/{ATOM}link[@rel='related']")
    assert changes is not None
    assert len(client.get(changes.attrib["href"]).json()["data"]) == 2


def test_the_api_catalog_leads_to_descriptions(client: httpx.Client) -> None:
    answer = client.get("/.well-known/api-catalog")
    assert answer.headers["content-type"].startswith("application/linkset+json")
    own, api = answer.json()["linkset"]
    assert client.get(own["item"][0]["href"]).status_code == 200
    for relation in ("service-desc", "service-doc", "service-meta", "status"):
        for link in api[relation]:
            assert client.get(link["href"]).status_code == 200


def test_the_sitemap_lists_pages_that_are_there(client: httpx.Client) -> None:
    named = client.get("/robots.txt").text.rpartition("Sitemap: ")[2].strip()
    root = Xml.fromstring(client.get(named).content)
    pages = [loc.text for loc in root.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert len(pages) == 4
    assert {client.get(str(page)).status_code for page in pages} == {200}


def test_a_dataset_describes_itself_to_search_engines(client: httpx.Client) -> None:
    text = client.get(ORDERS).text
    found = json.loads(text.partition('<script type="application/ld+json">')[2].partition("</script>")[0])
    assert (found["@type"], found["version"]) == ("Dataset", "1.2.0+2")
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
