"""Clients: many connections that keep a service busy, and one connection to each of its processes."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from urllib.parse import urlsplit

from bench.errors import BenchError

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"
PIECE = 262_144
ANSWER_SECONDS = 60.0  # for an answer that never comes


class Asker:
    """One connection: sends a request, and reads its answer to the end."""

    def __init__(self, stream: socket.socket, paths: Iterator[bytes]) -> None:
        self.stream = stream
        self.paths = paths
        self.unread = b""
        self.whole = 0  # bytes of the answer, once its head is there

    def send(self) -> None:
        """Nothing comes back; asks for the next path."""
        self.unread, self.whole = b"", 0
        self.stream.sendall(b"GET %s HTTP/1.1\r\nHost: decant\r\n\r\n" % next(self.paths))

    def receive(self) -> bool:
        """Whether the answer is there; BenchError where it is no success."""
        piece = self.stream.recv(PIECE)
        self.unread += piece
        if not self.whole and HEAD_END in self.unread:
            head = self.unread.partition(HEAD_END)[0] + b"\r\n"
            length = LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200 ") or length is None:
                raise BenchError(f"A request was not answered: {self.unread[:500]!r}")
            self.whole = len(head) + 2 + int(length[1])
        if not piece:
            raise BenchError("The service ended a connection.")
        return 0 < self.whole <= len(self.unread)


def ask(address: str, paths: Sequence[str], seconds: float, connections: int) -> int:
    """How many requests were answered in so many seconds, each connection asking one after the other."""
    parts = urlsplit(address)
    each = cycle([path.encode() for path in paths])
    answered = 0
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(connections):
            stream = stack.enter_context(socket.create_connection((parts.hostname or "", parts.port or 80)))
            asker = Asker(stream, each)
            selector.register(stream, selectors.EVENT_READ, asker)
            asker.send()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            ready = selector.select(ANSWER_SECONDS)
            if not ready:
                raise BenchError(f"The service answered nothing for {ANSWER_SECONDS:.0f} s.")
            for key, _ in ready:
                if key.data.receive():
                    answered += 1
                    key.data.send()
    return answered
