"""A short answer leaves in one write: its head waits for its body, which follows at once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.lab import Lab
from tests.support.sockets import serving

ADDRESS = "/data/people/v1/people"
SEGMENTS_OFFSET = 152  # of `tcpi_data_segs_in` in Linux's `struct tcp_info`


@contextmanager
def asking(address: tuple[str, int], request: str) -> Iterator[socket.socket]:
    """A connection on which one request was sent."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request.encode())
        yield connection


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of an answer, and what came with it of the body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def count_segments(connection: socket.socket) -> int:
    """How many segments with data have come."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS_OFFSET + 4)
    return int(struct.unpack_from("I", info, SEGMENTS_OFFSET)[0])


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("method", "path", "fields", "status"),
    [
        ("GET", "/livez", "", b"200"),
        ("GET", f"{ADDRESS}/records", "", b"200"),
        ("GET", f"{ADDRESS}/records?none=1", "", b"422"),
        ("HEAD", f"{ADDRESS}/records", "", b"200"),
        ("GET", f"{ADDRESS}/records", "If-None-Match: *\r\n", b"304"),
    ],
)
def test_a_short_answer_is_one_segment(lab: Lab, method: str, path: str, fields: str, status: bytes) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n")
    request = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"
    with serving(lab) as address, asking(address, request) as connection:
        head, body = read_head(connection)
        assert head.split(b" ")[1] == status
        lengths = [int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
        expected = lengths[0] if lengths and method == "GET" and status != b"304" else 0
        while len(body) < expected:
            body += connection.recv(65_536)
        assert len(body) == expected
        assert count_segments(connection) == 1
