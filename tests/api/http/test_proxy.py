"""Behind a real nginx that ends TLS, strips a path, caches, and keeps its connections to the service."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest
from prometheus_client import REGISTRY

from tests.support.following import Stream
from tests.support.keys import make_key
from tests.support.lab import PEOPLE, Lab, walk
from tests.support.site import Site, open_site

MIXED = PEOPLE.replace(
    "{name: born, logicalType: date}", "{name: born, logicalType: date, classification: confidential}"
)
RECORDS = "/data/people/v1/people/records"
FIRST = "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,,\n3,Cid,40,\n"
SECOND = "id,name,age,born\n1,Ann,31,1990-01-31\n2,Ben,,\n3,Cid,40,\n"
MARKERS = 3  # requests of others after each attempt


@pytest.fixture
def site(make_lab: Callable[..., Lab]) -> Iterator[Site]:
    """A product behind nginx under /sub."""

    def load(base: str) -> Lab:
        lab = make_lab(MIXED, public_url=base)
        lab.ingest("people.people", FIRST)
        return lab

    with open_site(load) as opened:
        yield opened


@pytest.mark.slow
def test_events_pass_the_proxy_as_they_are_sent_and_name_its_address(site: Site) -> None:
    with site.client.stream("GET", "/data/people/v1/people/follow") as answer:
        stream = Stream(answer)
        for revision in (1, 2):
            event = stream.next()
            assert event is not None
            assert event.id == revision
            assert event.data["changes"].startswith(
                f"{site.base}/data/people/v1/people/changes?since={revision - 1}&"
            )
            site.lab.ingest("people.people", SECOND)


def test_every_address_leads_back_through_the_proxy(site: Site) -> None:
    client, base = site.client, site.base
    # Pages: each `next` and Link is absolute, and can be followed as it stands.
    page = client.get(f"{RECORDS}?limit=1")
    assert page.json()["next"].startswith(f"{base}{RECORDS}?")
    assert page.links["next"]["url"] == page.json()["next"]
    assert [record["id"] for record in walk(client, f"{RECORDS}?limit=1")] == [1, 2, 3]
    # The catalogue.
    (product,) = client.get("/data").json()["data"]
    (dataset,) = product["datasets"]
    details, whole = client.get(dataset["url"]).json()["data"], client.get(product["url"]).json()["data"]
    addresses = [product["url"], dataset["url"], dataset["records_url"], whole["contract_url"]]
    assert details["links"].pop("profile").startswith(f"{base}/data/")  # made by a worker, which is not there
    for address in [*addresses, *details["links"].values()]:
        assert address.startswith(f"{base}/data/"), address
        asked = f"{address}?since=0" if address.endswith("/changes") else address
        method = "HEAD" if address.endswith("/follow") else "GET"  # whose answer does not end
        assert client.request(method, asked).status_code in {200, 307}, address
    # An export leads to the file of its revision.
    moved = client.get("/data/people/v1/people/export?format=csv")
    assert (moved.status_code, moved.headers["location"][: len(base)]) == (307, base)
    assert client.get(moved.headers["location"]).text.startswith("id,name,age\r\n")
    # Problems name a page about them.
    problem = client.get(f"{RECORDS}?colour=red").json()
    assert problem["type"] == f"{base}/docs/problems/unknown_parameter"
    assert client.get(problem["type"]).status_code == 200
    # The document for machines: its server and its paths make addresses that answer.
    document = client.get("/openapi.json").json()
    assert document["servers"] == [{"url": base}]
    plain = [path for path in document["paths"] if path.endswith("/records")]
    assert plain
    assert [client.get(document["servers"][0]["url"] + path).status_code for path in plain] == [200] * len(plain)


@pytest.mark.slow
def test_the_pages_for_people_find_their_files_below_the_path(site: Site) -> None:
    origin = site.base.removesuffix("/sub")
    for page in ("/", "/browse", "/docs", "/docs/problems/not_found"):
        text = site.client.get(page).text
        named = re.findall(r"(?:href|src)=[\"']([^\"']+)[\"']", text)
        assert len(named) >= 3
        for address in named:
            if address.startswith("#"):
                continue
            assert address.startswith("/sub/"), address
            assert site.client.get(origin + address).status_code == 200, address
    assert 'data-base="/sub"' in site.client.get("/docs").text
    script = site.client.get("/static/docs.js").text
    assert script.count("`${base}/") == 3  # the document, those of products, and where logins lead back to
    assert '"/openapi.json"' not in script


def test_what_is_cached_for_one_caller_never_answers_another(site: Site) -> None:
    wide = make_key(site.lab, "people:read", "people:read:confidential", name="wide")
    narrow = make_key(site.lab, "people:read", name="narrow")
    callers = {"nobody": {}, "wide": {"X-API-Key": wide}, "narrow": {"Authorization": f"Bearer {narrow}"}}
    paths = (f"{RECORDS}?at=1", f"{RECORDS}?at=1&limit=2", f"{RECORDS}/1?at=1")
    said: dict[str, list[str]] = {name: [] for name in callers}
    for turn in range(3):
        # Whoever comes first must not decide what the others get.
        for name in [*callers][turn:] + [*callers][:turn]:
            for path in paths:
                answer = site.client.get(path, headers=callers[name])
                assert answer.status_code == 200
                records = answer.json()["data"]
                first = records[0] if isinstance(records, list) else records
                assert ("born" in first) is (name == "wide"), (name, path)
                said[name].append(answer.headers["x-cache"])
                if name == "nobody":
                    # A repeated answer would repeat them.
                    assert not {"server-timing", "traceresponse"} & set(answer.headers)
                else:
                    assert {"server-timing", "traceresponse"} <= set(answer.headers)
    assert said["nobody"] == ["MISS"] * len(paths) + ["HIT"] * 2 * len(paths)
    assert {word for name in ("wide", "narrow") for word in said[name]} == {"MISS"}
    # Each form and coding is an answer of its own.
    csv = site.client.get(paths[0], headers={"Accept": "text/csv"})
    assert (csv.headers["x-cache"], csv.headers["content-type"].partition(";")[0]) == ("MISS", "text/csv")
    assert site.client.get(paths[0]).json()["data"][0]["name"] == "Ann"
    # Whoever has seen a revision gets none that is older, whatever is cached.
    assert site.client.get(RECORDS).json()["revision"] == 1
    site.lab.ingest("people.people", SECOND)
    newer = site.client.get(RECORDS, headers={"Decant-Min-Revision": "2"})
    assert (newer.json()["revision"], newer.json()["data"][0]["age"]) == (2, 31)


SMUGGLED = "GET /livez HTTP/1.1\r\nHost: inside\r\n\r\n"  # nothing else asks for that
SIZE = f"Content-Length: {len(SMUGGLED)}\r\n"
CHUNKED = f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
# How a request is written that two servers might cut differently: method, more headers, body.
ATTEMPTS = {
    "upgrade with a body": ("GET", f"Connection: Upgrade\r\nUpgrade: h2c\r\n{SIZE}", SMUGGLED),
    "upgrade to websocket with a body": ("POST", f"Connection: Upgrade\r\nUpgrade: websocket\r\n{SIZE}", SMUGGLED),
    "upgrade with chunks": ("GET", "Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
    "length and chunks": ("POST", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
    "chunks and length": ("POST", f"Transfer-Encoding: chunked\r\n{SIZE}", f"0\r\n\r\n{SMUGGLED}"),
    "two lengths": ("POST", f"Content-Length: 0\r\n{SIZE}", SMUGGLED),
    "a list of lengths": ("POST", f"Content-Length: 0, {len(SMUGGLED)}\r\n", SMUGGLED),
    "a length with a sign": ("POST", f"Content-Length: +{len(SMUGGLED)}\r\n", SMUGGLED),
    "chunks behind a blank": ("POST", f"Transfer-Encoding : chunked\r\n{SIZE}", SMUGGLED),
    "chunks with another name": ("POST", f"Transfer-Encoding: xchunked\r\n{SIZE}", SMUGGLED),
    "chunks twice": ("POST", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED),
    "chunks in a folded line": ("POST", f"X: y\r\n Transfer-Encoding: chunked\r\n{SIZE}", SMUGGLED),
    "a bare line feed": ("POST", f"X: y\nTransfer-Encoding: chunked\r\n{SIZE}", f"0\r\n\r\n{SMUGGLED}"),
    "a chunk extension with a line feed": (
        "POST",
        "Transfer-Encoding: chunked\r\n",
        f"2;\nxx\r\n0\r\n\r\n{SMUGGLED}",
    ),
    "a body of GET": ("GET", SIZE, SMUGGLED),
    "a body of HEAD": ("HEAD", SIZE, SMUGGLED),
    "a body that is expected": ("POST", f"Expect: 100-continue\r\n{SIZE}", SMUGGLED),
    "a body that is too short": ("POST", f"Content-Length: {len(SMUGGLED) + 50}\r\n", SMUGGLED),
    "two hosts": ("GET", f"Host: other\r\n{SIZE}", SMUGGLED),
    "a connection header that takes the length away": ("POST", f"Connection: Content-Length\r\n{SIZE}", SMUGGLED),
    "trailers": ("POST", "Transfer-Encoding: chunked\r\nTrailer: X\r\n", f"0\r\nContent-Length: 5\r\n\r\n{SMUGGLED}"),
}


def attempt(site: Site, place: str, method: str, headers: str, body: str) -> None:
    """Sends one attempt over a connection of its own, and leaves when it is answered or nothing comes any more."""
    start = f"{method} {place}{RECORDS} HTTP/1.1\r\nHost: 127.0.0.1:{site.nginx.port}\r\n"
    plain = socket.create_connection(("127.0.0.1", site.nginx.port), timeout=10)
    with site.trust.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        secured.sendall(f"{start}{headers}\r\n{body}".encode())
        secured.settimeout(0.3)
        with suppress(TimeoutError, ConnectionError, ssl.SSLError):
            while secured.recv(65536):
                pass


def test_no_request_through_the_proxy_gets_the_answer_to_another(site: Site) -> None:
    asked, before = 0, count_smuggled()
    with httpx.Client(verify=site.trust, timeout=60) as other:
        origin = site.base.removesuffix("/sub")
        for place in ("/sub", "/upgrading"):
            for name, (method, headers, body) in ATTEMPTS.items():
                attempt(site, place, method, headers, body)
                # nginx has kept its connections to the service: what was left on one would answer these.
                for number in range(MARKERS):
                    answer = other.get(f"{origin}{('/sub', '/upgrading')[number % 2]}/nowhere-{asked}")
                    found = (answer.status_code, json.loads(answer.content)["instance"])
                    assert found == (404, f"/sub/nowhere-{asked}"), (place, name)
                    asked += 1
    assert asked == 2 * len(ATTEMPTS) * MARKERS
    # Nor did the service take a body for a request whose answer nginx threw away.
    assert count_smuggled() == before


def count_smuggled() -> float:
    """How often this process was asked what only hidden requests ask."""
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    found = [s.value for s in samples if "livez" in s.labels.values() and s.name.endswith(("_total", "_count"))]
    return sum(found)
