"""A service as `decant serve` configures it, in a thread, and requests to it as bytes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from api.app import create_app
from api.server import make_config
from api.wire.bounded_protocol import BoundedProtocol
from tests.support.lab import Lab
from tests.support.service import run_in_thread

HOST = b"Host: x\r\n"

SLOW = {"header_timeout_seconds": 0.6, "body_timeout_seconds": 1.0}


@contextmanager
def serving(
    lab: Lab, protocol: Any = BoundedProtocol, wrap: Callable[[Any], Any] = lambda app: app
) -> Iterator[tuple[str, int]]:
    """The address of the service as `decant serve` configures it; controls give another protocol."""
    app = wrap(create_app(lab.settings, lab.urls, lab.catalog))
    config = make_config(app, lab.settings)
    config.port, config.http = 0, protocol
    with run_in_thread(config) as address:
        yield address


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer; status 0 where the connection ended without one."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return 0, {}, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        piece = connection.recv(65_536)
        if not piece:
            break
        body += piece
    return int(lines[0].split(" ")[1]), headers, body


def ask(address: tuple[str, int], *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request that is sent in these pieces."""
    with socket.create_connection(address, timeout=15) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_answer(connection)


def get(path: bytes, *headers: bytes) -> bytes:
    """A whole request."""
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(h + b"\r\n" for h in headers) + b"\r\n"
