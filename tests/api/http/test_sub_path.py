"""Below a path of a public address: no answer of any route names an address beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from ingest.inspection.column_statistics import refresh_profiles
from runtime.postgres.database import make_engine
from tests.support.keys import key_of, make_key
from tests.support.lab import PEOPLE, Lab
from tests.support.routes import CLOSED, ROUTES, Asked
from tests.support.site import Site, open_site
from tests.support.sockets import SLOW, ask, get, serving
from tests.support.visitor import sign_in

# What begins an address of the service, in whatever holds it: JSON, a header, a page.
BESIDE = re.compile(
    r"""["'<](/(?:assets|browse|data|docs|keys|openapi|operations|session|static|livez|readyz|metrics)\b[^"'>]*)["'>]"""
)
BASE = "https://data.example/sub"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, databases: object) -> Iterator[Site]:
    """A closed product behind nginx under /sub, with a profile."""
    folder = tmp_path_factory.mktemp("sub")

    def load(base: str) -> Lab:
        urls = databases.urls(databases.create())  # type: ignore[attr-defined]
        lab = Lab.build(folder, urls, CLOSED, rate_limit_default="off", public_url=base)
        lab.migrate()
        lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,20,\n3,Cid,x,\n")
        refresh_profiles(make_engine(lab.urls.ingest), lab.loader().tables, lab.catalog.datasets())
        return lab

    with open_site(load) as opened:
        yield opened


def addresses_beside(site: Site, headers: dict[str, str], content: str) -> list[str]:
    """The addresses in an answer that do not lead back to the service."""
    named = "".join(
        f"<{value}>" for name, value in headers.items() if name in {"location", "content-location", "link"}
    )
    absolute = re.findall(rf"{re.escape(site.base.removesuffix('/sub'))}/(?!sub/)[^\"'>]*", content + named)
    return BESIDE.findall(content + named) + absolute


# The contract is text of its own. The paths of an OpenAPI document begin at its server.
@pytest.mark.sampled
@pytest.mark.parametrize(
    "asked", [a for a in ROUTES if "/contract" not in a.path and "/openapi" not in a.path], ids=str
)
def test_no_route_names_an_address_beside_the_path(site: Site, asked: Asked) -> None:
    key = make_key(site.lab, *asked.scopes)
    more = "&limit=1" if "?" in asked.path else "?limit=1"
    for path in (asked.path, asked.path + more):
        answer = site.client.request(
            asked.method, path, headers={"X-API-Key": key, "Accept": asked.accept}, json=asked.body
        )
        assert answer.status_code < 400 or path != asked.path, answer.text
        text = "" if "export" in path or asked.accept == "text/csv" else answer.text
        assert addresses_beside(site, dict(answer.headers), text) == []
    # The problem that the route is answered with without a credential.
    refused = site.client.request(asked.method, asked.path, json=asked.body)
    if refused.headers["content-type"].startswith("text/html"):
        assert addresses_beside(site, dict(refused.headers), refused.text) == []
    elif asked.method != "HEAD":
        problem = refused.json()
        assert problem["type"] == f"{site.base}/docs/problems/unauthorized"
        assert problem["instance"] == "/sub" + asked.path.partition("?")[0]


def test_what_lists_of_loads_and_queued_ones_name_leads_to_them(site: Site) -> None:
    headers = key_of(site.lab, "ops:read", "ops:write", "keys:admin")
    listed = site.client.get("/operations/loads", headers=headers).json()["data"][-1]
    assert listed["url"] == f"{site.base}/operations/loads/1"
    assert site.client.get(listed["url"], headers=headers).json()["data"]["url"] == listed["url"]
    queued = site.client.post("/operations/loads", headers=headers, json={"product": "people"})
    assert queued.headers["location"] == queued.json()["data"][0]["url"]
    assert site.client.get(queued.headers["location"], headers=headers).status_code == 200
    made = site.client.post("/keys", headers=headers, json={"name": "x", "scopes": ["people:read"]})
    assert site.client.get(made.headers["location"], headers=headers).status_code == 200


def test_the_cookie_of_a_session_is_sent_to_the_service_and_not_beside_it(site: Site) -> None:
    visitor = sign_in(site.client, make_key(site.lab, "people:read"))
    try:
        (cookie,) = visitor.client.cookies.jar
        assert (cookie.name, cookie.path, cookie.secure) == ("__Secure-decant", "/sub", True)
        assert visitor.get("/account").status_code == 200
        beside = visitor.client.build_request("GET", site.base.removesuffix("sub") + "subordinate")
        assert "cookie" not in beside.headers
        assert visitor.send("/account", "/sub/sign-out", to="/sign-out").headers["location"] == "/sub/"
        assert list(visitor.client.cookies.jar) == []
    finally:
        visitor.client.cookies.clear()


def test_a_redirect_to_a_download_stays_below_the_path_and_the_session(site: Site) -> None:
    headers = key_of(site.lab, "people:read")
    answer = site.client.get("/session/data/people/v1/people/export?format=csv", headers=headers)
    assert answer.headers["location"].startswith(f"{site.base}/session/data/people/v1/people/export?format=csv&at=1")
    assert site.client.get(answer.headers["location"], headers=headers).status_code == 200


REFUSALS = {
    "bad_request": (get(b"/data", b"Host: y"), "/sub/data"),
    "not_implemented": (get(b"/data?a", b"Transfer-Encoding: x"), "/sub/data"),
    "uri_too_long": (get(b"/" + b"x" * 100_000), None),
    "headers_too_large": (get(b"/data/x", b"X: " + b"y" * 300_000), "/sub/data/x"),
    "version_not_supported": (b"GET /livez\r\n\r\n", "/sub/livez"),
    "request_timeout": (b"GET /data HTTP/1.1\r\nHost: x\r\n", "/sub/data"),
}


@pytest.mark.sampled
@pytest.mark.parametrize("code", REFUSALS)
def test_refusals_below_the_application_name_addresses_below_the_path(refusing: tuple[str, int], code: str) -> None:
    sent, instance = REFUSALS[code]
    problem = json.loads(ask(refusing, sent)[2])
    assert problem["code"] == code
    assert problem["type"] == f"{BASE}/docs/problems/{code}"
    assert problem["instance"].startswith("/sub/") if instance is None else problem["instance"] == instance


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, databases: object) -> Iterator[tuple[str, int]]:
    """The service itself, which has a public address."""
    urls = databases.urls(databases.create())  # type: ignore[attr-defined]
    lab = Lab.build(tmp_path_factory.mktemp("refusing"), urls, PEOPLE, public_url=BASE, **SLOW)
    lab.migrate()
    with serving(lab) as address:
        yield address
