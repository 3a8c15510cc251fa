"""What an attacker sends to pages: planted cookies, forged hosts, addresses that lead elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from api.portal.guard import POLICY
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.portal import load_shop
from tests.support.visitor import OURS, sign_in

ORDERS = "/browse/shop/v1/orders"
OPEN = (
    "/",
    "/browse",
    "/browse/shop/v1",
    ORDERS,
    f"{ORDERS}/explore?group_by=kind",
    f"{ORDERS}/records/2",
    "/reports",
)
EVIL = "evil.example"
FORGED = {
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": f"//{EVIL}",
    "X-Forwarded-Server": EVIL,
    "Forwarded": f"host={EVIL};proto=https",
    "X-Host": EVIL,
    "X-Original-URL": f"//{EVIL}/",
    "X-Rewrite-URL": f"//{EVIL}/",
    "X-HTTP-Method-Override": "POST",
}


@pytest.fixture
def shop(product: Callable[[Callable[..., Lab]], Lab]) -> Lab:
    return product(load_shop)


@pytest.fixture
def client(shop: Lab) -> Iterator[httpx.Client]:
    with shop.serve() as client:
        yield client


@pytest.mark.sampled
@pytest.mark.parametrize("path", OPEN)
def test_a_page_that_caches_keep_is_made_of_no_header_that_others_forge(client: httpx.Client, path: str) -> None:
    plain, forged = client.get(path), client.get(path, headers=FORGED)
    assert (plain.status_code, plain.headers["cache-control"]) == (200, "public, max-age=60")
    assert (forged.headers["etag"], forged.text) == (plain.headers["etag"], plain.text)
    assert EVIL not in forged.text


@pytest.mark.parametrize(
    "path",
    [
        *(f"//{EVIL}/browse", f"//{EVIL}", f"/%2F{EVIL}/", f"/%5C{EVIL}", f"/browse//{EVIL}", f"/browse/..//{EVIL}"),
        *(
            f"/browse/{EVIL}/",
            "/browse/",
            f"{ORDERS}/explore?_add_group=kind&next=//{EVIL}",
            f"{ORDERS}/explore//{EVIL}",
        ),
        *(f"/sign-in?next=//{EVIL}", f"/sign-in?next=/%09/{EVIL}", f"/sign-in?next=%2F%5C{EVIL}", "/account"),
    ],
)
def test_no_address_leads_to_another_host(shop: Lab, client: httpx.Client, path: str) -> None:
    sign_in(client, make_key(shop, "people:read"))
    for headers in ({}, FORGED):
        answer = client.get(httpx.URL(str(client.base_url).rstrip("/") + path), headers=headers)
        leads = urljoin(str(client.base_url), answer.headers.get("location", "/"))
        assert urlsplit(leads).netloc == urlsplit(str(client.base_url)).netloc


def test_every_answer_of_the_portal_is_kept_apart_from_other_sites(client: httpx.Client) -> None:
    asset = client.get("/").text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    paths = (*OPEN, asset, "/favicon.ico", "/browse/none/v1", "/account", "/sign-in", "/sign-in/with/1", "/console")
    answers = [client.get(path) for path in paths]
    answers += [client.post(path, headers=headers) for path in ("/sign-in", "/sign-out") for headers in ({}, OURS)]
    assert {answer.status_code for answer in answers} == {200, 302, 401, 403, 404, 415}
    for answer in answers:
        told = answer.headers
        assert told["content-security-policy"] == POLICY, answer.url
        assert told["x-content-type-options"] == "nosniff"
        assert told["referrer-policy"] == "same-origin"
        assert told["cross-origin-opener-policy"] == told["cross-origin-resource-policy"] == "same-origin"


def test_a_planted_session_is_ended_by_the_sign_in_of_its_victim(shop: Lab, client: httpx.Client) -> None:
    attacker = sign_in(client, make_key(shop, "people:read"))
    planted = {"Cookie": f"decant={attacker.client.cookies['decant']}"}
    client.cookies.clear()
    signed_in = client.post("/sign-in", data={"key": make_key(shop, "people:read")}, headers=OURS | planted)
    assert signed_in.status_code == 303
    assert signed_in.cookies["decant"] not in planted["Cookie"]
    client.cookies.clear()
    assert client.get("/browse/people/v1/people", headers=planted).status_code == 401


@pytest.mark.parametrize(
    "path",
    [f"{ORDERS}/records/a%2Fb", f"{ORDERS}/records/a%3Fb%23c?at=1", f"{ORDERS}/records/%C3%A9", f"{ORDERS}?q=%26x"],
)
def test_a_sign_in_leads_back_to_the_address_as_it_was_asked(client: httpx.Client, path: str) -> None:
    link = client.get(path).text.partition('href="/sign-in?')[2].partition('"')[0]
    assert parse_qs(link.replace("&amp;", "&"))["next"] == [path]


def test_a_file_is_named_by_the_service_and_opens_nowhere_as_a_page(client: httpx.Client) -> None:
    for form in ("csv", "ndjson", "parquet", "arrow", "xlsx"):
        query = f"format={form}&at=2&customer=%22%0D%0ASet-Cookie:x=1%22"
        answer = client.get(f"/data/shop/v1/orders/export?{query}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-disposition"] == f'attachment; filename="shop-v1-orders-r2.{form}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in answer.headers["content-type"]
        assert "set-cookie" not in answer.headers
