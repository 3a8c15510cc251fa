"""Connections to sources, kept between batches and looks: a new one costs ten times as much as what it is asked.

One is lent to one thread at a time. What failed is closed, not lent again, and so is what was made a while ago: then
the address, the login and what the contract may use are looked at anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

KEPT_SECONDS = 300.0  # since it was made


class Closable(Protocol):
    """Anything that can be closed."""

    def close(self) -> object:
        """Closes it."""


Place = TypeVar("Place", bound=Hashable)
Connection = TypeVar("Connection", bound=Closable)


class KeptConnections(Generic[Place, Connection]):
    """The connections of one kind that nobody has at the moment, by where they lead, for all threads."""

    def __init__(self) -> None:
        self.spare: dict[Place, list[tuple[float, Connection]]] = {}  # when each was made
        self.lock = threading.Lock()

    @contextmanager
    def lend(self, place: Place, make: Callable[[], Connection]) -> Iterator[Connection]:
        """A connection to exactly this place, kept or made now; whatever `make` raises where there is none."""
        made_at, connection = self.take(place) or (time.monotonic(), make())
        try:
            yield connection
        except BaseException:
            close_all([connection])
            raise
        with self.lock:
            self.spare.setdefault(place, []).append((made_at, connection))

    def take(self, place: Place) -> tuple[float, Connection] | None:
        """A kept connection, and when it was made; None where there is none. What is too old is closed."""
        oldest = time.monotonic() - KEPT_SECONDS
        with self.lock:
            old = [connection for kept in self.spare.values() for made_at, connection in kept if made_at < oldest]
            young = {each: [one for one in kept if one[0] >= oldest] for each, kept in self.spare.items()}
            self.spare = {each: kept for each, kept in young.items() if kept}
            found = self.spare[place].pop() if self.spare.get(place) else None
        close_all(old)
        return found

    def close(self) -> None:
        """Closes what nobody has at the moment."""
        with self.lock:
            connections = [connection for kept in self.spare.values() for _, connection in kept]
            self.spare.clear()
        close_all(connections)


def close_all(connections: list[Connection]) -> None:
    """Closes connections, whatever they say."""
    for connection in connections:
        with suppress(Exception):
            connection.close()
