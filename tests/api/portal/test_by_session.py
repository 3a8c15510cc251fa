"""Answers of the API for who is signed in: what a page leads to opens, for nobody else, and nothing changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from html import unescape
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.portal import load_shop
from tests.support.visitor import OURS, sign_in

PEOPLE = "/browse/people/v1/people"
RECORDS = "/session/data/people/v1/people/records"
EXPORT = "/session/data/people/v1/people/export"
EVERYTHING = ("people:read", "keys:admin", "ops:read", "ops:write")
LINK = re.compile(r'<(?:a|link)\b[^>]*? href="([^"]+)"')
LEFT_OUT = ("/sign-in", "/assets/", "mailto:")
PAGES_MAXIMUM = 400


def load(make: Callable[..., Lab]) -> Lab:
    return load_shop(partial(make, rate_limit_default="off"))


@pytest.fixture
def shop(product: Callable[[Callable[..., Lab]], Lab]) -> Lab:
    return product(load)


@pytest.fixture
def client(shop: Lab) -> Iterator[httpx.Client]:
    with shop.serve() as client:
        yield client


@pytest.mark.slow
def test_every_link_of_a_page_opens_for_who_is_signed_in(shop: Lab, client: httpx.Client) -> None:
    visitor = sign_in(client, make_key(shop, *EVERYTHING))
    waiting, seen = ["/", PEOPLE, "/browse/people/v1", "/account", "/console"], set[str]()
    while waiting and len(seen) < PAGES_MAXIMUM:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path, follow_redirects=True)
        # A report that asks for what there is not is part of the product.
        assert answer.status_code in {200, 422}, f"{path}: {answer.status_code} {answer.text[:200]}"
        # Of what is not open, since what is opens in any case; questions of the explorer lead on for ever.
        if "text/html" in answer.headers["content-type"] and "?" not in path and "shop" not in path:
            hrefs = [urljoin(path, unescape(href)) for href in LINK.findall(answer.text)]
            waiting += [href for href in hrefs if not urlsplit(href).netloc and not href.startswith(LEFT_OUT)]
    assert {RECORDS.partition("/records")[0], f"{EXPORT}?format=csv", f"{EXPORT}?format=parquet"} <= seen
    assert not waiting
    assert visitor.get("/account").status_code == 200


@pytest.mark.sampled
@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet", "arrow", "xlsx"])
def test_a_download_is_what_the_key_downloads(shop: Lab, client: httpx.Client, form: str) -> None:
    key = make_key(shop, "people:read")
    path = f"{EXPORT}?format={form}&at=1"
    by_key = client.get(path.removeprefix("/session"), headers={"X-API-Key": key})
    assert client.get(path).status_code == 401
    sign_in(client, key)
    by_session = client.get(path)
    assert (by_session.status_code, by_session.content) == (200, by_key.content)
    assert by_session.headers["content-disposition"] == by_key.headers["content-disposition"]
    assert by_session.headers["cache-control"] == "private, no-cache"
    assert by_session.headers["vary"].startswith("Cookie,")
    assert client.get(path, headers={"If-None-Match": by_session.headers["etag"]}).status_code == 304
    if form == "parquet":
        part = client.get(path, headers={"Range": "bytes=0-3"})
        assert (part.status_code, part.content) == (206, b"PAR1")


def test_a_redirect_stays_where_the_session_opens_it(shop: Lab, client: httpx.Client) -> None:
    sign_in(client, make_key(shop, "people:read"))
    answer = client.get(f"{EXPORT}?format=csv")
    assert answer.status_code == 307
    assert answer.headers["location"].startswith(f"{EXPORT}?format=csv&at=1")


def test_problems_are_pages_and_lead_to_the_sign_in(shop: Lab, client: httpx.Client) -> None:
    refused = client.get(RECORDS)
    assert (refused.status_code, refused.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert f"next={RECORDS}" in refused.text
    sign_in(client, make_key(shop, "people:read"))
    for path, status in (
        (f"{RECORDS}?nothing=1", 422),
        (f"{RECORDS}/999", 404),
        (f"{EXPORT}?format=pdf", 422),
        ("/session/data/people/v1/nothing/records", 404),
        ("/session/operations/loads", 403),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), path


@pytest.mark.parametrize(
    "path",
    [
        *("/session", "/session/", "/session/sign-in", "/session/account", "/session/metrics"),
        *("/session/session/data", "/session//data", "/session/browse"),
        *(f"/session/data/people/v1/people/follow{query}" for query in ("", "?since=0")),
        "/session/%64ata/people/v1/people/follo%77",
    ],
)
def test_only_answers_of_the_api_that_end_are_sent_on(shop: Lab, client: httpx.Client, path: str) -> None:
    sign_in(client, make_key(shop, *EVERYTHING))
    asked = httpx.URL(str(client.base_url).rstrip("/") + path)
    assert client.get(asked, timeout=10).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_is_changed_by_way_of_the_session(shop: Lab, client: httpx.Client, method: str) -> None:
    sign_in(client, make_key(shop, *EVERYTHING))
    for path in ("/session/keys", "/session/operations/loads", "/session/subscriptions/x"):
        answer = client.request(method, path, json={"product": "people"}, headers=OURS)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_signed_out_visitor_reads_nothing_more(shop: Lab, client: httpx.Client) -> None:
    visitor = sign_in(client, make_key(shop, "people:read"))
    assert client.get(RECORDS).json()["data"]
    cookie = {"Cookie": f"decant={client.cookies['decant']}"}
    assert visitor.send("/account", "/sign-out").status_code == 303
    assert client.get(RECORDS).status_code == 401
    assert client.get(RECORDS, headers=cookie).status_code == 401
