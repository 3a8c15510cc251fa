"""Headers that keep browsers from taking an answer for something else."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from tests.support.lab import Lab
from tests.support.sockets import serving

RECORDS = "/data/people/v1/people/records"


@pytest.fixture
def served(lab: Lab) -> Iterator[tuple[str, int]]:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    with serving(lab) as place:
        yield place


def test_every_answer_forbids_sniffing(served: tuple[str, int], lab: Lab) -> None:
    host, port = served
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=60) as client:
        tag = client.get(RECORDS).headers["etag"]
        answers = [
            client.get(RECORDS),
            client.get(RECORDS, headers={"If-None-Match": tag}),
            client.get(f"{RECORDS}?nothing=1"),
            client.get("/keys/self"),
            client.get("/nowhere"),
            client.get("/livez"),
            client.get("/openapi.json"),
            client.get("/docs", follow_redirects=True, timeout=60),
        ]
        with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
            owner.execute("ALTER TABLE people_v1.people RENAME age TO years")
        answers.append(client.get(f"{RECORDS}?limit=2"))
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff", answer.url
    assert {answer.status_code for answer in answers} == {200, 304, 401, 404, 422, 500}


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / RTSP/1.1\r\nHost: x\r\n\r\n",
        f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["two lengths", "RTSP", "long"],
)
def test_what_is_refused_before_it_is_a_request_forbids_sniffing_too(served: tuple[str, int], head: str) -> None:
    with socket.create_connection(served, timeout=30) as wire:
        wire.sendall(head.encode())
        answer = b"".join(iter(lambda: wire.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"\r\nx-content-type-options: nosniff\r\n" in answer


def test_pages_forbid_framing(served: tuple[str, int]) -> None:
    host, port = served
    page = httpx.get(f"http://{host}:{port}/docs", follow_redirects=True, timeout=60)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
