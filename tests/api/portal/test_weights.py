"""What every page of the portal weighs as it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from api.portal.routes import PAGES
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.portal import load_shop, load_troubled
from tests.support.visitor import sign_in

ORDERS = "/browse/shop/v1/orders"
LIMIT, EXPLORER_LIMIT = 15_000, 25_000
SHOP_PAGES = (
    *("/", "/browse?q=order", "/browse/shop/v1", "/browse/shop/v1/contract", ORDERS, f"{ORDERS}/properties/price"),
    *(
        f"{ORDERS}/explore",
        f"{ORDERS}/explore/facets/kind",
        f"{ORDERS}/records/5",
        f"{ORDERS}/diff?since=1&at=2",
        f"{ORDERS}/revisions",
    ),
    *(
        f"{ORDERS}/explore?group_by=month(ordered_at),kind,customer&limit=1000",
        "/reports",
        "/reports/sales",
        "/sign-in",
    ),
)
OWNER_PAGES = (
    *(
        "/account",
        "/account/keys",
        "/account/webhooks",
        "/console",
        "/console/loads",
        "/console/loads/1",
        "/console/withheld/2",
    ),
    *("/console/rejects", "/console/schedules", "/console/usage", "/console/audit"),
    *("/account/keys/KEY/revoke", "/account/webhooks/WEBHOOK"),
)


def test_every_page_is_weighed() -> None:
    weighed = [path.partition("?")[0] for path in (*SHOP_PAGES, *OWNER_PAGES)]
    patterns = {page.name: re.sub(r"\{[^}]+\}", "[^/]+", page.path) for page in PAGES}
    assert [
        name for name, pattern in patterns.items() if not any(re.fullmatch(pattern, path) for path in weighed)
    ] == []


@pytest.fixture(scope="module")
def shop(shared_labs: Callable[..., Lab]) -> Iterator[httpx.Client]:
    with shared_labs(load_shop).serve() as client:
        yield client


@pytest.fixture(scope="module")
def owner(shared_labs: Callable[..., Lab]) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    lab = shared_labs(load_troubled)
    with lab.serve() as client:
        key = make_key(lab, "people:read", "ops:read", "ops:write", "keys:admin")
        wanted = {"product": "people", "address": "https://hooks.example/decant"}
        made = client.post("/subscriptions", json=wanted, headers={"Authorization": f"Bearer {key}"}).json()["data"]
        sign_in(client, key)
        yield client, {"KEY": key.split("_")[1], "WEBHOOK": made["id"]}


@pytest.mark.sampled
@pytest.mark.parametrize("path", SHOP_PAGES)
def test_pages_that_everybody_reads_are_light(shop: httpx.Client, path: str) -> None:
    weigh(shop, path)


@pytest.mark.sampled
@pytest.mark.parametrize("path", OWNER_PAGES)
def test_pages_of_owners_are_light(owner: tuple[httpx.Client, dict[str, str]], path: str) -> None:
    client, names = owner
    for word, name in names.items():
        path = path.replace(word, name)
    weigh(client, path)


def weigh(client: httpx.Client, path: str) -> None:
    """Fails where a page is heavier than its limit, or is sent as it is although it is large."""
    for coding in ("gzip", "zstd"):
        answer = client.get(path, headers={"Accept-Encoding": coding})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        size = int(answer.headers["content-length"])
        assert size < (EXPLORER_LIMIT if "/explore" in path else LIMIT)
        assert answer.headers.get("content-encoding") == coding or size < 1024
        assert "Accept-Encoding" in answer.headers["vary"]
