"""Addresses that lead nowhere: a page for browsers, problem details for everybody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.portal import SCRIPT, load_shop
from tests.support.visitor import sign_in

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
NOWHERE = ("/nothing", f"/{SCRIPT}", "/browse/none/", "/docs/problems/none", "/assets/none.css", "/account/none")


@pytest.fixture
def client(product: Callable[[Any], Lab]) -> Iterator[httpx.Client]:
    with product(load_shop).serve() as found:
        yield found


@pytest.mark.parametrize("path", NOWHERE)
def test_a_browser_gets_a_page_that_leads_back(client: httpx.Client, path: str) -> None:
    page = client.get(path, headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["vary"] == "Accept, Cookie"
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "To the catalogue" in page.text
    assert SCRIPT not in page.text


@pytest.mark.parametrize("path", NOWHERE)
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.5", "x", ""])
def test_other_callers_get_the_problem_as_json(client: httpx.Client, path: str, accept: str | None) -> None:
    answer = client.get(path, headers={} if accept is None else {"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/data/none/v1", "/data/none", "/operations/none", "/keys/none/none"])
def test_the_api_answers_browsers_as_everybody(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers=BROWSER).headers["content-type"] == "application/problem+json"


def test_what_is_sent_to_nowhere_gets_a_problem(client: httpx.Client) -> None:
    answer = client.post("/nothing", headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert client.head("/nothing", headers=BROWSER).headers["content-type"] == "text/html; charset=utf-8"


def test_who_has_signed_in_stays_so(product: Callable[[Any], Lab]) -> None:
    lab = product(load_shop)
    with lab.serve() as client:
        assert ">Sign in</a>" in client.get("/nothing", headers=BROWSER).text
        visitor = sign_in(client, make_key(lab, "people:read"))
        page = visitor.client.get("/nothing", headers=BROWSER).text
        assert ">Account</a>" in page
        assert ">Sign in</a>" not in page
