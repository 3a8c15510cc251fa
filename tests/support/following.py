"""Streams of revisions, read over real connections."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.lab import Lab

Address = tuple[str, int]
FOLLOW = "/data/people/v1/people/follow"
HEADER = "id,name,age,born\n"


@dataclass
class Event:
    """One event as it came."""

    name: str
    id: int | None
    data: dict[str, Any]


@dataclass
class Stream:
    """An open stream."""

    answer: httpx.Response
    lines: Iterator[str] = field(init=False)
    comments: list[str] = field(default_factory=list)
    retries: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = self.answer.iter_lines()

    def next(self) -> Event | None:
        """The next event; None where the stream has ended, as a stream does that was not cut off."""
        fields: dict[str, str] = {}
        for line in self.lines:
            if not line and fields:
                number = int(fields["id"]) if "id" in fields else None
                return Event(fields["event"], number, json.loads(fields["data"]))
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments.append(value)
            elif name == "retry":
                self.retries.append(int(value))
            elif line:
                assert name not in fields
                fields[name] = value
        assert not fields
        return None

    def until(self, revision: int) -> list[Event]:
        """The events up to that of a revision."""
        found: list[Event] = []
        while not found or found[-1].id != revision:
            event = self.next()
            assert event is not None
            assert event.name == "revision", event
            found.append(event)
        return found

    def ending(self) -> str:
        """Why the stream ends; nothing follows that."""
        event = self.next()
        assert event is not None
        assert (event.name, event.id) == ("end", None)
        assert self.next() is None
        reason: str = event.data["reason"]
        return reason


@contextmanager
def following(address: tuple[str, int], query: str = "", path: str = FOLLOW, **headers: str) -> Iterator[Stream]:
    """A stream; header names have underscores here."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://{address[0]}:{address[1]}{path}{query}"
    with httpx.Client(timeout=60) as client, client.stream("GET", url, headers=fields) as answer:
        if answer.status_code != httpx.codes.OK:
            answer.read()
        yield Stream(answer)


@contextmanager
def slow_reader(address: tuple[str, int]) -> Iterator[socket.socket]:
    """A stream whose end here holds little, and is not read."""
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        made.settimeout(60)
        made.connect(address)
        made.sendall(f"GET {FOLLOW} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert made.recv(12) == b"HTTP/1.1 200"
        yield made


def publish(lab: Lab, *names: str) -> int:
    """The revision in which the records have these names."""
    records = "".join(f"{number},{name},30,\n" for number, name in enumerate(names, 1))
    report = lab.ingest("people.people", HEADER + records)
    assert report.outcome is not None
    assert report.status == "published", report
    return report.outcome.revision


def fetch(address: Address, path: str, **headers: str) -> httpx.Response:
    """An answer that ends."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"http://{address[0]}:{address[1]}{path}", headers=fields, timeout=60)


def told(stream: Stream) -> tuple[int | None, str]:
    """The next revision, and where its changes are."""
    event = stream.next()
    assert event is not None
    return event.id, event.data["changes"].partition("?")[2].rpartition("&")[0]
