"""A hidden beginning of a request that a real nginx carries to the service: the control shows that it can do harm.

What nginx keeps of a connection after an upgrade that was not taken is where the next caller's request goes. With
uvicorn's own protocol that caller gets the answer to what the attacker hid; with ours, nobody does.
"""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.wire.bounded_protocol import BoundedProtocol
from tests.support.lab import PEOPLE, Lab
from tests.support.sockets import serving
from tests.support.tools import Nginx, run_nginx

RECORDS = "/data/people/v1/people/records"
# As nginx's documentation has it for WebSockets.
CONFIG = """
map $http_upgrade $passed_on {{ default upgrade; "" ""; }}
upstream service {{ server 127.0.0.1:{service}; keepalive 1; }}
server {{
  listen 127.0.0.1:{port};
  location / {{
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $passed_on;
    proxy_request_buffering off;
    proxy_pass http://service;
  }}
}}
"""
# It never ends: the first line of the next caller becomes the value of its last header.
HIDDEN = b"GET /livez HTTP/1.1\r\nHost: inside\r\nX-Rest: "
EMPTY_LINES = b"\r\n" * 300_000  # more than the service reads at once; what is left of them begins no request
WAIT_SECONDS = 20.0


class Attack(NamedTuple):
    """What is sent before the body, and the body."""

    method: bytes
    fields: bytes
    body: bytes = HIDDEN
    apart: bool = True  # whether the body is sent when the head has arrived


ATTACKS = {
    "an upgrade of GET": Attack(b"GET", b"Connection: Upgrade\r\nUpgrade: other\r\n"),
    "an upgrade of POST": Attack(b"POST", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    "an upgrade to WebSocket": Attack(b"GET", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "an upgrade in one piece": Attack(
        b"GET", b"Connection: Upgrade\r\nUpgrade: other\r\n", EMPTY_LINES + HIDDEN, apart=False
    ),
}


class Heard:
    """What the service read, and when it may answer upgrades."""

    def __init__(self) -> None:
        self.heads, self.tail, self.may_answer = 0, b"", threading.Event()

    def protocol(self, base: type[HttpToolsProtocol]) -> type[HttpToolsProtocol]:
        """The protocol, overheard."""
        heard = self

        class Overheard(base):  # type: ignore[misc, valid-type]
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                heard.heads += b"pgrade: " in data
                heard.tail = (heard.tail + data)[-len(HIDDEN) :]

        return Overheard

    def wrap(self, app: Any) -> Any:
        """The service, which answers an upgrade when it may: the body is there by then."""

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and any(name == b"upgrade" for name, _ in scope["headers"]):
                await asyncio.to_thread(self.may_answer.wait, WAIT_SECONDS)
            await app(scope, receive, send)

        return answer

    def wait_for(self, arrived: Callable[[], bool], connection: socket.socket) -> None:
        """Returns when it has arrived, or when something was answered instead."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not arrived() and not select.select([connection], [], [], 0.01)[0]:
            assert time.monotonic() < deadline


@contextmanager
def open_proxy(lab: Lab, base: type[HttpToolsProtocol]) -> Iterator[tuple[Nginx, Heard]]:
    """An nginx before the service that reads requests like `base`."""
    heard = Heard()

    def write(port: int, _: Path) -> str:
        return CONFIG.format(port=port, service=service)

    with serving(lab, heard.protocol(base), heard.wrap) as (_, service), run_nginx(write) as nginx:
        yield nginx, heard


def answers_after(nginx: Nginx, heard: Heard, attack: Attack) -> list[Any]:
    """What another caller, who asks for what there is not, gets after an attack."""
    head = b"%b %b HTTP/1.1\r\nHost: x\r\n" % (attack.method, RECORDS.encode())
    head += attack.fields + b"Content-Length: %d\r\n\r\n" % len(attack.body)
    heard.may_answer.clear()
    heard.tail, before = b"", heard.heads
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=WAIT_SECONDS) as connection:
        if attack.apart:
            connection.sendall(head)
            heard.wait_for(lambda: heard.heads > before, connection)
            connection.sendall(attack.body)
        else:
            connection.sendall(head + attack.body)
        heard.wait_for(lambda: heard.tail == HIDDEN, connection)
        heard.may_answer.set()
        assert connection.recv(100).startswith(b"HTTP/1.1 ")
    with httpx.Client(base_url=f"http://127.0.0.1:{nginx.port}", timeout=WAIT_SECONDS) as other:
        return [json.loads(other.get(f"/nowhere-{number}").content).get("instance") for number in range(3)]


@pytest.mark.parametrize("name", ATTACKS)
def test_nobody_gets_the_answer_to_what_an_attacker_hid(make_lab: Callable[..., Lab], name: str) -> None:
    with open_proxy(make_lab(PEOPLE), BoundedProtocol) as (nginx, heard):
        assert answers_after(nginx, heard, ATTACKS[name]) == ["/nowhere-0", "/nowhere-1", "/nowhere-2"]


@pytest.mark.parametrize("name", ATTACKS)
def test_with_the_plain_protocol_another_caller_gets_it(make_lab: Callable[..., Lab], name: str) -> None:
    with open_proxy(make_lab(PEOPLE), HttpToolsProtocol) as (nginx, heard):
        assert answers_after(nginx, heard, ATTACKS[name]) == [None, "/nowhere-1", "/nowhere-2"]
