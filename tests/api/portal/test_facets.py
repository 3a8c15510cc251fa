"""Values to choose from in the explorer: by profile, counted under filters, in heads of columns; sizes of files."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from api.portal.pages.downloads import write_size
from tests.support.lab import Lab
from tests.support.portal import load_shop

EXPLORE = "/browse/shop/v1/orders/explore"
API = "/data/shop/v1/orders"


@pytest.fixture
def client(product: Callable[[Any], Lab]) -> Any:
    """A client of the shop."""
    with product(load_shop).serve() as found:
        yield found


def counted(text: str) -> dict[str, tuple[str, str]]:
    """The values of a fragment: what each shows -> its count and its address."""
    found = re.findall(r'<a href="([^"]+)"[^>]*>(.*?) <span class="number">([\d,]+)</span>', text)
    return {html.unescape(value): (count, html.unescape(address)) for address, value, count in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "query", "others"),
    [
        ("kind", "customer[ilike]=*1&kind=a", "customer[ilike]=*1"),
        ("kind", "price[gte]=10&price[lt]=30&group_by=customer&sort=-count", "price[gte]=10&price[lt]=30"),
        ("customer", "kind=a&at=1", "kind=a"),
        ("odd%20%3C%2Ftitle%3E%20name", "q=customer", "q=customer"),
    ],
)
def test_counted_values_are_those_of_the_other_filters_at_the_revision_of_the_page(
    client: httpx.Client, name: str, query: str, others: str
) -> None:
    at = "1" if "at=1" in query else "2"
    page = client.get(f"{EXPLORE}?{query}").text
    [address] = {
        html.unescape(each)
        for each in re.findall(r'data-counts="([^"]+)"', page)
        if f"/facets/{name}?" in html.unescape(each)
    }
    assert f"at={at}" in address
    fragment = client.get(address)
    assert fragment.status_code == 200
    assert "<html" not in fragment.text
    assert f"revision {at}" in fragment.text
    answer = client.get(f"{API}/aggregate?{others}&group_by={name}&sort=-count&limit=20&at={at}").json()
    wanted = {
        "(null)" if row_value is None else row_value.replace("\u202e", "\\u202e"): f"{count:,}"
        for row_value, count in (row.values() for row in answer["data"])
    }
    found = counted(fragment.text)
    assert {value: count for value, (count, _) in found.items()} == wanted
    for count, link in found.values():
        asked = link.partition("?")[2]
        kept = "&".join(part for part in asked.split("&") if not part.startswith(("group_by=", "sort=", "facet=")))
        total = client.get(f"{API}/records?{kept}&count=exact&limit=1").json()["count"]["value"]
        assert f"{total:,}" == count
    # Without script the page shows the same values.
    plain = client.get(f"{EXPLORE}?{query}&facet={name}")
    assert plain.status_code == 200
    assert f"Under the other filters, revision {at}" in plain.text
    opened = plain.text[plain.text.index('<div class="counts">') :]
    assert {value: count for value, (count, _) in counted(opened[: opened.index("</div>")]).items()} == wanted
    assert "facet" not in "".join(re.findall(r"<code>GET ([^<]+)</code>", plain.text))


def test_what_cannot_be_counted_is_said_in_the_fragment(client: httpx.Client) -> None:
    facets = f"{EXPLORE}/facets"
    for query, status in (("price[gte]=x", 422), ("nonsense=1", 422), ("at=99", 422), ("at=x", 422), ("kind=a", 200)):
        fragment = client.get(f"{facets}/kind?{query}")
        assert fragment.status_code == status, query
        assert ("Not counted" in fragment.text) == (status != 200)
        assert status == 200 or fragment.headers["cache-control"] == "no-store"
    for missing in (f"{facets}/nothing", "/browse/shop/v1/nothing/explore/facets/kind"):
        assert client.get(missing).status_code == 404
    # A name that is none is no facet of the page.
    assert client.get(f"{EXPLORE}?facet=nothing").status_code == 200


@pytest.mark.slow
@pytest.mark.alone
def test_counting_that_takes_long_is_left_to_the_reader(make_lab: Callable[..., Lab]) -> None:
    lab = load_shop(make_lab)
    address = f"{EXPLORE}/facets/kind?price[gte]=10"
    with (
        lab.serve() as client,
        psycopg.connect(lab.urls.owner.replace("+psycopg", "")) as other,
    ):
        assert client.get(address).status_code == 200
        other.execute("LOCK TABLE shop_v1.orders IN ACCESS EXCLUSIVE MODE")
        late = client.get(f"{EXPLORE}/facets/kind?price[gte]=20")
        assert (late.status_code, late.headers["cache-control"]) == (200, "no-store")
        found = re.search(r'href="([^"]+)" data-counts="([^"]+)">Count anyway', late.text)
        assert found is not None
        other.rollback()
        whole = client.get(html.unescape(found[2]))
        assert "Count anyway" not in whole.text
        assert counted(whole.text)
        page = client.get(html.unescape(found[1]))
        assert "facet=kind&facet_time=full" in html.unescape(found[1])
        assert "Under the other filters" in page.text


@pytest.mark.slow
def test_heads_of_columns_have_bars_that_filter(client: httpx.Client) -> None:
    text = client.get(EXPLORE).text
    heads = re.findall(r'<svg class="spark head".*?</svg>', text, re.S)
    assert len(heads) == 5
    for head in heads:
        links = re.findall(r'<a href="([^"]+)" tabindex="-1"><title>([^<]+), ([\d,]+) records</title>', head)
        assert links
        for address, _, count in links:
            query = html.unescape(address).partition("?")[2]
            answer = client.get(f"{API}/records?{query}&count=exact&limit=1").json()
            assert f"{answer['count']['value']:,}" == count
    chosen = client.get(f"{EXPLORE}?kind=a").text
    assert re.search(r'<a href="[^"]+" tabindex="-1" class="chosen"><title>kind: a,', chosen)


def test_sizes_stand_beside_downloads(client: httpx.Client) -> None:
    def sizes(query: str = "") -> dict[str, str]:
        found = re.findall(r'download>([\w ]+?)(?: <span class="sub">([^<]*)</span>)?</a>', client.get(query).text)
        return dict(found)

    told = client.get(f"{API}/sizes").json()["data"]
    dataset = sizes("/browse/shop/v1/orders")
    assert list(dataset) == ["CSV", "JSON lines", "Parquet", "Arrow", "Excel"]
    for each, text in zip(told, dataset.values(), strict=True):
        assert text == write_size(each["bytes"], exact=each["exact"])
    assert sizes(f"{EXPLORE}?kind=a")["CSV"].startswith("at most ")
    # Of another revision nothing is known.
    assert set(sizes(f"{EXPLORE}?at=1").values()) == {""}
    assert write_size(12_345_678, exact=True) == "12.3 MB"
    assert write_size(12_345_678, exact=False) == "about 12 MB"
    assert (write_size(1, exact=True), write_size(999, exact=True)) == ("1 byte", "999 bytes")


def test_every_value_that_is_offered_leads_to_as_many_records_as_it_says(client: httpx.Client) -> None:
    text = client.get(EXPLORE).text
    offered = re.findall(r'<li><a href="([^"]+)">[^<]* <span class="number">([\d,]+)</span></a></li>', text)
    assert len(offered) > 20
    for address, count in offered:
        query = html.unescape(address).partition("?")[2]
        answer = client.get(f"{API}/records?{query}&count=exact&limit=1")
        assert answer.status_code == 200, answer.text
        assert f"{answer.json()['count']['value']:,}" == count, address
