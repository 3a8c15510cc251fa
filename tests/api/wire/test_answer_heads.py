"""The head of an answer: as it was given, or an error where a field would be read as something else."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from api.server import make_config
from api.wire.cycle import render_head
from runtime.settings.settings import Settings
from tests.support.service import run_in_thread


def test_a_head_is_its_status_and_its_fields() -> None:
    head = render_head(200, [(b"date", b"now"), (b"etag", b'"a: b"'), (b"vary", b"")])
    assert head == b'HTTP/1.1 200 OK\r\ndate: now\r\netag: "a: b"\r\nvary: \r\n\r\n'


@pytest.mark.parametrize(
    "field",
    [
        (b"location", b"/a\r\nset-cookie: b"),
        (b"location", b"/a\nb"),
        (b"location", b"/a\rb"),
        (b"location", b"/a\x00"),
        (b"location", b"/a\x7f"),
        (b"a b", b""),
        (b"a:", b"b"),
        (b"a\r\nb", b"c"),
        (b"", b"a"),
        (b"Content-Length", b"1"),  # as ASGI forbids: it would not be seen
    ],
)
def test_a_field_that_is_no_line_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError, match="not valid"):
        render_head(200, [(b"date", b"now"), field])


def ask(application: Any, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of what an application's service sends until it ends the connection, which it would keep."""
    config = make_config(application, Settings())
    config.port, config.lifespan, config.log_config, config.timeout_keep_alive = 0, "off", None, 60
    with run_in_thread(config) as address, socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request)
        head, _, body = b"".join(iter(lambda: connection.recv(65_536), b"")).partition(b"\r\n\r\n")
    return head, body


async def send_refused(scope: Any, receive: Any, send: Any) -> None:
    """An application whose head is refused, framed in the way that its path names."""
    fields = {"/chunked": [], "/long": [(b"content-length", b"1000000")], "/none": [(b"content-length", b"0")]}
    head = {"type": "http.response.start", "status": 200, "headers": [*fields[scope["path"]], (b"a b", b"")]}
    with pytest.raises(RuntimeError):
        await send(head)
    raise ArithmeticError


@pytest.mark.parametrize("path", [b"/chunked", b"/long", b"/none"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_the_error_after_a_refused_head_has_a_framing_of_its_own(path: bytes, version: bytes) -> None:
    head, body = ask(send_refused, b"GET " + path + b" HTTP/" + version + b"\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"transfer-encoding" not in head
    assert (b"content-length: 21" in head, body) == (True, b"Internal Server Error")


@pytest.mark.parametrize("value", [b"close", b"Close", b"x, CLOSE"])
def test_an_answer_that_says_close_ends_its_connection(value: bytes) -> None:
    async def close(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"content-length", b"2"), (b"connection", value)]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"ok"})

    head, body = ask(close, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.lower().count(b"connection: ") == 1
    assert body == b"ok"
