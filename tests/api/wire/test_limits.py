"""Limits on requests, over raw sockets: how long and how slow they may be."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.sockets import SLOW, ask, get, read_answer, serving


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    """A whole request with a body."""
    length = b"Content-Length: %d" % len(body)
    return get(path, length, b"Content-Type: application/json", *headers).replace(b"GET", b"POST", 1) + body


CHUNKED = get(b"/operations/loads", b"Transfer-Encoding: chunked").replace(b"GET", b"POST", 1)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[tuple[str, int]]:
    """Where a service listens that is asked for nothing that lasts."""
    with databases.labs(tmp_path_factory.mktemp("served")) as make_lab, serving(make_lab()) as place:
        yield place


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (get(b"/livez?" + b"x" * (8192 - 7)), 200, None),
        (get(b"/livez?" + b"x" * (8192 - 6)), 414, "uri_too_long"),
        (get(b"/" + b"x" * 300_000), 414, "uri_too_long"),
        (b"GET /" + b"x" * 300_000, 414, "uri_too_long"),  # whose end never comes
        (get(b"/livez", b"X: " + b"x" * (16_384 - 16)), 200, None),
        (get(b"/livez", b"X: " + b"x" * 16_384), 431, "headers_too_large"),
        (get(b"/livez", *[b"X-%d: y" % n for n in range(3000)]), 431, "headers_too_large"),
        (get(b"/livez")[:-2] + b"X: " + b"x" * 300_000, 431, "headers_too_large"),  # whose end never comes
        (get(b"/livez")[:-2] + b"X" * 300_000, 431, "headers_too_large"),
        (post(b"/operations/loads", b"{}"), 401, "unauthorized"),
        (get(b"/operations/loads", b"Content-Length: 1000001").replace(b"GET", b"POST"), 413, "body_too_large"),
        (get(b"/livez", b"Content-Length: 99999999999999999999"), 400, "bad_request"),
        (CHUNKED + b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n" + b"ff\r\n" + b"x" * 255, 401, "unauthorized"),
        (b"NONSENSE\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
        (get(b"/livez", b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400, "bad_request"),
    ],
)
def test_a_request_over_a_limit_is_a_problem_and_ends_the_connection(
    address: tuple[str, int], request_bytes: bytes, status: int, code: str | None
) -> None:
    found, headers, body = ask(address, request_bytes)
    assert found == status, (found, headers, body[:300])
    if code is not None:
        problem = json.loads(body)
        assert headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem["status"]) == (code, status)
    assert ask(address, get(b"/livez"))[0] == 200


def test_headers_and_bodies_that_trickle_are_cut_off(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(**SLOW)
    key = make_key(lab, "ops:write")
    fields = (b"X-API-Key: " + key.encode(), b"Content-Type: application/json")
    with serving(lab) as address:
        for beginning, trickle, most in (
            (b"", b"", 0.6),
            (b"GET /li", b"v", 0.6),
            (b"GET /livez HTTP/1.1\r\nX: ", b"y", 0.6),
            (b"", b"\r\n", 0.6),
            (get(b"/operations/loads", *fields, b"Content-Length: 1000").replace(b"GET", b"POST"), b" ", 1.0),
            (CHUNKED[:-2] + b"".join(field + b"\r\n" for field in fields) + b"\r\n", b"1\r\nx\r\n", 1.0),
        ):
            with socket.create_connection(address, timeout=15) as connection:
                began = time.monotonic()
                connection.sendall(beginning)
                connection.settimeout(0.05)
                status = None
                while status is None:
                    try:
                        status, _, _ = read_answer(connection)
                    except TimeoutError:
                        assert time.monotonic() - began < most + 5, (beginning, trickle)
                        if trickle:
                            connection.sendall(trickle)
                assert time.monotonic() - began >= most * 0.9
                assert status == 408


@pytest.mark.parametrize("rest", [b"", b"f4240\r\n" + b"x" * 1_000_001 + b"\r\n"])
def test_a_request_that_was_answered_before_its_body_came_gets_no_second_answer(
    make_lab: Callable[..., Lab], rest: bytes
) -> None:
    with serving(make_lab(**SLOW)) as address, socket.create_connection(address, timeout=15) as connection:
        connection.sendall(CHUNKED)
        status, _, body = read_answer(connection)
        assert (status, json.loads(body)["code"]) == (401, "unauthorized")
        connection.sendall(rest)
        assert connection.recv(65_536) == b""


def test_a_connection_that_waits_between_requests_is_not_slow(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(**SLOW)
    with serving(lab) as address, socket.create_connection(address, timeout=15) as connection:
        for pause in (0, 1.2, 0):
            time.sleep(pause)
            connection.sendall(get(b"/livez"))
            assert read_answer(connection)[0] == 200


def test_requests_in_one_piece_are_answered_in_turn(lab: Lab) -> None:
    with serving(lab) as address, socket.create_connection(address, timeout=15) as connection:
        connection.sendall(get(b"/livez") * 3 + post(b"/operations/loads", b"{}") + get(b"/readyz"))
        data = b""
        while data.count(b"HTTP/1.1 ") < 5:
            piece = connection.recv(65_536)
            assert piece, data
            data += piece
        statuses = [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [200, 200, 200, 401, 200]


def test_many_slow_connections_do_not_keep_others_waiting(lab: Lab) -> None:
    with serving(lab) as address:
        slow: list[Any] = []
        try:
            for _ in range(400):
                connection = socket.create_connection(address, timeout=15)
                connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
                slow.append(connection)
            began = time.monotonic()
            assert ask(address, get(b"/livez"))[0] == 200
            assert time.monotonic() - began < 5
        finally:
            for connection in slow:
                connection.close()
