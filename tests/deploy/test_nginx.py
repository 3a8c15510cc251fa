"""The shipped nginx in front of a service: at a host's root and below a path, and what it passes on about callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.support.lab import Lab, walk
from tests.support.proxies import Front, run_front
from tests.support.sockets import serving
from tests.support.tools import free_port

BASE = "/data/people/v1/people"
PEOPLE = "id,name,age,born\n1,Ann,30,\n2,Ben,40,\n3,Cid,50,\n"


@contextmanager
def serve_behind(make_lab: Callable[..., Lab], sub_path: str = "", **settings: str) -> Iterator[Front]:
    """A loaded product behind it."""
    port = free_port()
    public = {"public_url": f"https://127.0.0.1:{port}{sub_path}"} if sub_path else {}
    lab = make_lab(trusted_proxies="127.0.0.1/32", **public, **settings)
    lab.ingest("people.people", PEOPLE)
    with serving(lab) as (_, service), run_front([service, service], sub_path=sub_path, port=port) as front:
        yield front


def test_below_a_path_every_address_leads_back_through_it(make_lab: Callable[..., Lab]) -> None:
    with serve_behind(make_lab, "/sub") as front, front.client() as client:
        base = f"{client.base_url}/sub"
        assert client.get("/sub").headers["location"].endswith("/sub/")
        assert client.get("/sub/livez").status_code == 200
        assert client.get("/sub/metrics").status_code == 404
        assert client.get("/livez").status_code == 404
        (product,) = client.get("/sub/data").json()["data"]
        (dataset,) = product["datasets"]
        assert dataset["records_url"] == f"{base}{BASE}/records"
        assert [record["id"] for record in walk(client, f"{dataset['records_url']}?limit=1")] == [1, 2, 3]
        kept = [client.get(f"/sub{BASE}/records?at=1").headers["x-cache"] for _ in range(2)]
        assert kept == ["MISS", "HIT"]


def test_without_a_public_address_answers_name_the_one_that_was_asked(make_lab: Callable[..., Lab]) -> None:
    with serve_behind(make_lab) as front, front.client() as client:
        path = "/.well-known/api-catalog"
        assert f'"{client.base_url}/data' in client.get(path).text
        # Kept by the name that was asked for: nobody is led to a host that another caller made up.
        other = client.get(path, headers={"Host": "other.example:1"})
        assert other.headers["x-cache"] == "MISS"
        assert '"https://other.example:1/data' in other.text
        again = client.get(path)
        assert again.headers["x-cache"] == "HIT"
        assert "other.example" not in again.text


def test_exports_are_not_cached_and_can_be_taken_up_again(make_lab: Callable[..., Lab]) -> None:
    with serve_behind(make_lab) as front, front.client() as client:
        path = f"{BASE}/export?format=parquet&at=1"
        whole = client.get(path, follow_redirects=True)
        part = client.get(whole.url, headers={"Range": "bytes=10-19", "If-Range": whole.headers["etag"]})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        kept = client.get(whole.url, headers={"If-None-Match": whole.headers["etag"]})
        assert (kept.status_code, kept.content) == (304, b"")
        assert {each.headers["x-cache"] for each in (whole, part, kept)} == {"BYPASS"}


def test_limits_count_callers_by_the_address_that_nginx_sees(make_lab: Callable[..., Lab]) -> None:
    with serve_behind(make_lab, rate_limit_anonymous="3/minute") as front, front.client() as client:
        # What a caller says of itself is not believed.
        statuses = [
            client.get(f"{BASE}/records?limit={number}", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
            for number in range(1, 20)
        ]
        assert statuses[0] == 200
        assert httpx.codes.TOO_MANY_REQUESTS in statuses
