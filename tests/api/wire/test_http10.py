"""HTTP/1.0, which knows no chunks: an answer of unknown length ends with its connection."""

from __future__ import annotations

import socket

import httpx

from tests.support.lab import Lab
from tests.support.sockets import serving

RECORDS = "/data/people/v1/people/records"
EXPORT = "/data/people/v1/people/export?format=csv&at=1"


def ask(address: tuple[str, int], method: str, path: str, *fields: str) -> tuple[list[str], bytes]:
    """The lines of the head, and all that follows until the connection ends."""
    with socket.create_connection(address, timeout=30) as connection:
        head = "".join(f"{field}\r\n" for field in (f"{method} {path} HTTP/1.0", *fields, ""))
        connection.sendall(head.encode())
        data = b""
        while piece := connection.recv(65_536):
            data += piece
    head_bytes, _, body = data.partition(b"\r\n\r\n")
    return head_bytes.decode().lower().split("\r\n"), body


def test_an_answer_has_no_chunks_and_ends_with_the_connection(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n" + "".join(f"{n},Ann {n},30,\n" for n in range(5000)))
    with serving(lab) as address:
        base = f"http://{address[0]}:{address[1]}"
        whole = httpx.get(base + EXPORT, headers={"Accept-Encoding": "identity"}, timeout=60)
        assert whole.headers["transfer-encoding"] == "chunked"
        for fields in ((), ("Connection: keep-alive",), ("Host: x", "Connection: keep-alive, x")):
            head, body = ask(address, "GET", EXPORT, *fields)
            assert head[0] == "http/1.1 200 ok"
            assert not [line for line in head if line.startswith(("transfer-encoding", "content-length"))]
            assert "connection: close" in head
            assert body == whole.content
        page = httpx.get(base + RECORDS, headers={"Accept-Encoding": "identity"}, timeout=60)
        head, body = ask(address, "GET", RECORDS)
        assert f"content-length: {len(body)}" in head
        assert body == page.content
        head, body = ask(address, "HEAD", EXPORT)
        assert (head[0], body) == ("http/1.1 200 ok", b"")
        assert not [line for line in head if line.startswith("transfer-encoding")]
        head, body = ask(address, "GET", RECORDS, f"If-None-Match: {page.headers['etag']}")
        assert (head[0], body) == ("http/1.1 304 not modified", b"")


def test_what_waits_to_be_asked_for_is_not_asked_for(lab: Lab) -> None:
    with serving(lab) as address:
        head, _ = ask(address, "POST", "/operations/loads", "Content-Length: 2", "Expect: 100-continue")
        assert head[0] == "http/1.1 401 unauthorized"
