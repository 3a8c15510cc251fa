"""Requests that two parsers could read in two ways, over raw sockets: how many answers, which, and what then."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.lab import Lab
from tests.support.sockets import serving

HOST = b"Host: x\r\n"
# The request that an attacker hides; whoever answers it names its path.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
PUSH = b"POST /operations/loads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = PUSH + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: other\r\n"


class Case(NamedTuple):
    """What is sent, the statuses of its answers, and whether the connection is over then."""

    sent: bytes
    statuses: list[int]
    closed: bool = True


def get(target: bytes = b"/livez", fields: bytes = HOST, version: bytes = b"HTTP/1.1") -> bytes:
    """A request without a body."""
    return b"GET " + target + b" " + version + b"\r\n" + fields + b"\r\n"


def push(fields: bytes, body: bytes = b"{}") -> bytes:
    """A request with a body, behind which another one hides."""
    return PUSH + fields + b"\r\n" + body + HIDDEN


GOOD = get()
CASES = {
    # Upgrades and tunnels.
    "an upgrade that is not taken": Case(get(fields=HOST + UPGRADE), [200]),
    "an upgrade with more behind it": Case(get(fields=HOST + UPGRADE) + HIDDEN, [200]),
    "an upgrade with a body": Case(push(UPGRADE + b"Content-Length: 2\r\n"), [400]),
    "an upgrade whose body is a request": Case(PUSH + UPGRADE + b"Content-Length: 38\r\n\r\n" + HIDDEN, [400]),
    "an upgrade with chunks": Case(push(UPGRADE + b"Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"), [400]),
    "an upgrade with an empty body": Case(push(UPGRADE + b"Content-Length: 0\r\n", b""), [401]),
    "an upgrade to HTTP/2": Case(
        get(fields=HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")
        + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN, [200]),
    "an upgrade to a WebSocket": Case(
        get(fields=HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n") + HIDDEN, [200]),
    "an upgrade behind another request": Case(GOOD + get(fields=HOST + UPGRADE) + HIDDEN, [200, 200]),
    "Connection: Upgrade without a protocol": Case(
        PUSH + b"Connection: Upgrade\r\nContent-Length: 2\r\n\r\n{}", [401], closed=False),
    "a protocol that Connection does not name": Case(
        PUSH + b"Upgrade: other\r\nContent-Length: 2\r\n\r\n{}", [401], closed=False),
    "CONNECT": Case(b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN, [501]),
    "CONNECT with a body": Case(b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}" + HIDDEN, [501]),
    "HTTP/2 without asking": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN, [400]),
    # Host.
    "no Host": Case(get(fields=b"") + HIDDEN, [400]),
    "two Hosts": Case(get(fields=HOST + b"Host: y\r\n") + HIDDEN, [400]),
    "one Host twice": Case(get(fields=HOST + HOST) + HIDDEN, [400]),
    "an empty Host": Case(get(fields=b"Host:\r\n") + HIDDEN, [400]),
    "a Host with a path": Case(get(fields=b"Host: x/y\r\n") + HIDDEN, [400]),
    "a Host with a user": Case(get(fields=b"Host: u@x\r\n") + HIDDEN, [400]),
    "a list of Hosts": Case(get(fields=b"Host: x, y z\r\n") + HIDDEN, [400]),
    "a Host with a port": Case(get(fields=b"Host: example.org:8000\r\n"), [200], closed=False),
    "a Host of IPv6": Case(get(fields=b"Host: [2001:db8::1]:8000\r\n"), [200], closed=False),
    "no Host in HTTP/1.0": Case(get(fields=b"", version=b"HTTP/1.0") + HIDDEN, [200]),
    "two Hosts in HTTP/1.0": Case(get(fields=HOST + HOST, version=b"HTTP/1.0") + HIDDEN, [400]),
    # Versions.
    "HTTP/0.9": Case(b"GET /livez\r\n\r\n", [505]),
    "HTTP/2.0": Case(get(version=b"HTTP/2.0") + HIDDEN, [505]),
    "HTTP/1.2": Case(get(version=b"HTTP/1.2") + HIDDEN, [400]),
    "a version in small letters": Case(get(version=b"http/1.1") + HIDDEN, [400]),
    "HTTP/1.0 that wants to stay": Case(
        get(fields=b"Connection: keep-alive\r\n", version=b"HTTP/1.0") + HIDDEN, [200]),
    # Other protocols that the parser reads.
    "RTSP": Case(get(version=b"RTSP/1.1") + HIDDEN, [400]),
    "RTSP in version 1.0": Case(get(version=b"RTSP/1.0") + HIDDEN, [400]),
    "RTSP without a header": Case(get(fields=b"", version=b"RTSP/1.1") + HIDDEN, [400]),
    "RTSP with a body": Case(push(b"Content-Length: 2\r\n").replace(b"HTTP/1.1", b"RTSP/1.1", 1), [400]),
    "RTSP behind another request": Case(GOOD + get(b"/readyz", version=b"RTSP/1.1") + HIDDEN, [200]),
    "RTSP and HTTP for one address": Case(GOOD + get(version=b"RTSP/1.1") + HIDDEN, [400]),
    "RTSP behind a body": Case(
        PUSH + b"Content-Length: 2\r\n\r\n{}" + get(version=b"RTSP/1.1") + HIDDEN, [401]),
    "RTSP behind chunks": Case(CHUNKED + b"2\r\n{}\r\n0\r\n\r\n" + get(version=b"RTSP/1.1") + HIDDEN, [401]),
    "RTSP behind empty lines": Case(b"\r\n\r\n" + get(version=b"RTSP/1.1") + HIDDEN, [400]),
    "RTSP behind more blanks": Case(get(b" /livez ", version=b"RTSP/1.1") + HIDDEN, [400]),
    "Icecast": Case(get(version=b"ICE/1.0") + HIDDEN, [400]),
    "Icecast with its own method": Case(get(version=b"ICE/1.0").replace(b"GET", b"SOURCE") + HIDDEN, [400]),
    "RTSP in a target": Case(get(b"/docs/problems/unauthorized?RTSP/1.1"), [200], closed=False),
    "RTSP in a header": Case(get(fields=b"X: GET / RTSP/1.1\r\n" + HOST), [200], closed=False),
    "RTSP in every header": Case(get(fields=HOST + b"X: / RTSP/1.1\r\n" * 9), [200], closed=False),
    "RTSP in a body": Case(
        PUSH + b"Content-Length: 36\r\n\r\n" + b"GET / RTSP/1.1\r\n\r\n" * 2, [401], closed=False),
    "RTSP in a chunk": Case(CHUNKED + b"12\r\nGET / RTSP/1.1\r\n\r\n\r\n0\r\n\r\n", [401], closed=False),
    # Lengths.
    "a length and chunks": Case(push(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"), [400]),
    "chunks and a length": Case(push(b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"), [400]),
    "two lengths": Case(push(b"Content-Length: 2\r\nContent-Length: 40\r\n"), [400]),
    "one length twice": Case(push(b"Content-Length: 2\r\nContent-Length: 2\r\n"), [400]),
    "a list of lengths": Case(push(b"Content-Length: 2, 2\r\n"), [400]),
    "a length with a sign": Case(push(b"Content-Length: +2\r\n"), [400]),
    "a length below 0": Case(push(b"Content-Length: -2\r\n"), [400]),
    "a length in hexadecimal": Case(push(b"Content-Length: 0x2\r\n"), [400]),
    "a length in two words": Case(push(b"Content-Length: 2 2\r\n"), [400]),
    "an empty length": Case(push(b"Content-Length:\r\n"), [400]),
    "a length beyond any": Case(push(b"Content-Length: 99999999999999999999\r\n"), [400]),
    "a length and a blank": Case(PUSH + b"Content-Length: 2 \r\n\r\n{}", [401], closed=False),
    "a length over the limit and a blank": Case(PUSH + b"Content-Length: 1000001 \r\n\r\n", [413]),
    "a body where no length was named": Case(PUSH + b"\r\n{}", [401]),
    # Transfer codings.
    "a coding that is not known": Case(push(b"Transfer-Encoding: xchunked\r\n"), [501]),
    "another coding beneath chunks": Case(push(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), [501]),
    "another coding above chunks": Case(push(b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), [400]),
    "nothing and chunks": Case(push(b"Transfer-Encoding: , chunked\r\n", b"0\r\n\r\n"), [501]),
    "identity": Case(push(b"Transfer-Encoding: identity\r\n"), [501]),
    "identity and chunks": Case(
        push(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), [400]),
    "chunks twice": Case(push(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), [400]),
    "chunks in quotes": Case(push(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), [501]),
    "chunks with a control character": Case(push(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), [400]),
    "chunks in capitals": Case(PUSH + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", [401], closed=False),
    "chunks in HTTP/1.0": Case(
        CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"2\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    # Chunks. The head has been answered by then: what is wrong only ends the connection.
    "chunks": Case(CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", [401], closed=False),
    "a chunk with an extension": Case(CHUNKED + b"2;a=b\r\n{}\r\n0\r\n\r\n", [401], closed=False),
    "trailers": Case(CHUNKED + b"0\r\nX-API-Key: y\r\nHost: z\r\n\r\n", [401], closed=False),
    "a length among trailers": Case(CHUNKED + b"0\r\nContent-Length: 9\r\n\r\n" + HIDDEN, [400]),
    "a size with a sign": Case(CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "a size with its base": Case(CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "a size behind a blank": Case(CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "a size before a blank": Case(CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "a size that overflows": Case(CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "a size that ends in LF": Case(CHUNKED + b"2\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "a size that ends in two CR": Case(CHUNKED + b"2\r\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "a chunk that ends in LF": Case(CHUNKED + b"2\r\n{}\n0\r\n\r\n" + HIDDEN, [400]),
    "a chunk longer than its size": Case(CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "an extension without a name": Case(CHUNKED + b"2;\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "an extension with a line end": Case(CHUNKED + b"2;a\nb\r\n{}\r\n0\r\n\r\n" + HIDDEN, [400]),
    "an extension with a quoted line end": Case(CHUNKED + b'2;a="\r\n"\r\n{}\r\n0\r\n\r\n' + HIDDEN, [400]),
    "an end in LF": Case(CHUNKED + b"0\r\n\n" + HIDDEN, [400]),
    # Lines.
    "a line that ends in LF": Case(b"GET /livez HTTP/1.1\n" + HOST + b"\r\n" + HIDDEN, [400]),
    "a header that ends in LF": Case(get(fields=b"Host: x\n") + HIDDEN, [400]),
    "a header that ends in CR": Case(get(fields=b"Host: x\rX: y\r\n") + HIDDEN, [400]),
    "a head that ends in LF": Case(b"GET /livez HTTP/1.1\r\nHost: x\r\n\n" + HIDDEN, [400]),
    "a folded header": Case(get(fields=HOST + b"X: y\r\n z\r\n") + HIDDEN, [400]),
    "a first header that is folded": Case(get(fields=b" " + HOST) + HIDDEN, [400]),
    "a blank before the colon": Case(get(fields=b"Host : x\r\n") + HIDDEN, [400]),
    "a header without a name": Case(get(fields=HOST + b": y\r\n") + HIDDEN, [400]),
    "a header without a colon": Case(get(fields=HOST + b"X\r\n") + HIDDEN, [400]),
    "a NUL in a header": Case(get(fields=HOST + b"X: a\0b\r\n") + HIDDEN, [400]),
    "a NUL in a name": Case(get(fields=HOST + b"X\0: b\r\n") + HIDDEN, [400]),
    "an empty line before a request": Case(b"\r\n" + GOOD, [200], closed=False),
    # Targets.
    "a whole address": Case(get(b"http://x/livez"), [200], closed=False),
    "a whole address in capitals": Case(get(b"HTTP://X/livez?"), [200], closed=False),
    "a whole address of another host": Case(get(b"http://y/livez") + HIDDEN, [400]),
    "a whole address with a user": Case(get(b"http://u@x/livez") + HIDDEN, [400]),
    "a whole address of another port": Case(get(b"http://x:81/livez") + HIDDEN, [400]),
    "a whole address of another scheme": Case(get(b"ftp://x/livez") + HIDDEN, [400]),
    "a whole address without a path": Case(get(b"http://x?a"), [200], closed=False),
    "a fragment": Case(get(b"/livez#a") + HIDDEN, [400]),
    "a fragment in the query": Case(get(b"/livez?a#b") + HIDDEN, [400]),
    "an asterisk": Case(get(b"*") + HIDDEN, [400]),
    "an authority": Case(get(b"x:80") + HIDDEN, [400]),
    "a relative address": Case(get(b"livez") + HIDDEN, [400]),
    "a host in the path": Case(get(b"//x/livez"), [404], closed=False),
    "no target": Case(b"GET HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN, [400]),
    "a tab in the first line": Case(b"GET\t/livez HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN, [400]),
    "a blank at the end of the first line": Case(get(version=b"HTTP/1.1 ") + HIDDEN, [400]),
    "a method in small letters": Case(GOOD.replace(b"GET", b"get") + HIDDEN, [400]),
    # Several requests in one piece.
    "requests in one piece": Case(GOOD * 5, [200] * 5, closed=False),
    "a bad one behind good ones": Case(GOOD * 2 + get(fields=b"") + HIDDEN, [200, 200]),
    "one too large behind good ones": Case(GOOD * 2 + PUSH + b"Content-Length: 1000001\r\n\r\n", [200, 200]),
    "chunks gone wrong behind good ones": Case(GOOD * 2 + CHUNKED + b"2\r\n{}}\r\n" + HIDDEN, [200, 200]),
    "more than wait": Case(GOOD * 60, [200] * 33),
    "the last one closes": Case(get(fields=HOST + b"Connection: close\r\n") + HIDDEN, [200]),
    # Expect: a body that was never asked for may come or not.
    "a body that waits to be asked for": Case(PUSH + b"Content-Length: 38\r\nExpect: 100-continue\r\n\r\n", [401]),
}  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> Iterator[tuple[str, int]]:
    lab = Lab.build(tmp_path_factory.mktemp("smuggling"), databases.urls(databases.create()))
    lab.migrate()
    with serving(lab) as address:
        yield address


def read_answers(connection: socket.socket, wanted: int | None) -> tuple[list[tuple[int, bytes]], bool]:
    """(status, body) of so many answers, or of all until the connection ends, and whether it has ended."""
    stream = connection.makefile("rb")
    answers: list[tuple[int, bytes]] = []
    while wanted is None or len(answers) < wanted:
        line = stream.readline()
        if not line:
            return answers, True
        assert line.startswith(b"HTTP/1.1 "), line
        length = 0
        while (header := stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            assert name.lower() != b"transfer-encoding"
            if name.lower() == b"content-length":
                length = int(value)
        answers.append((int(line[9:12]), stream.read(length)))
    return answers, False


@pytest.mark.parametrize("name", CASES)
def test_each_request_gets_its_own_answer_and_nothing_hidden_gets_one(address: tuple[str, int], name: str) -> None:
    case = CASES[name]
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(case.sent)
        answers, over = read_answers(connection, len(case.statuses))
        assert [status for status, _ in answers] == case.statuses
        assert not over
        # Another caller, whose request a proxy sends on the same connection.
        try:
            connection.sendall(get(b"/docs/problems/unauthorized", HOST + b"Connection: close\r\n"))
            more, over = read_answers(connection, None)
        except OSError:
            more, over = [], True
        assert over
        assert [status for status, _ in more] == ([] if case.closed else [200])
        assert not [body for _, body in (*answers, *more) if b"/hidden" in body]


@pytest.mark.parametrize("size", [1, 7])
def test_a_request_in_pieces_is_checked_as_in_one(address: tuple[str, int], size: int) -> None:
    names = ("an upgrade with a body", "two Hosts", "CONNECT", "a whole address of another host", "chunks twice")
    foreign = [name for name in CASES if name.startswith(("RTSP b", "Icecast")) and CASES[name].statuses == [400]]
    for name in (*names, *foreign):
        case = CASES[name]
        with socket.create_connection(address, timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for at in range(0, len(case.sent), size):
                    connection.sendall(case.sent[at : at + size])
                answers, _ = read_answers(connection, None if case.closed else len(case.statuses))
            except OSError:
                continue  # refused before all of it was sent
            assert [status for status, _ in answers] == case.statuses, name
