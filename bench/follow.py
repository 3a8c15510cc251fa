"""How soon followers are told of a publication: `python -m bench.follow [--publications 100] [--followers 50]`.

Promised: of all events, 99 of 100 arrive within 100 ms of the commit.
"""

from __future__ import annotations

import argparse
import re
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.services import run_decant
from bench.testbed import open_testbed
from bench.visibility import DATASET, OFF, PROCESSES, WAIT_SECONDS, Publisher, percentile
from ingest.errors import IngestError
from runtime.errors import CatalogError

PUBLICATIONS = 100
FOLLOWERS = 50
PROMISED_SECONDS = 0.1  # for 99 of 100 events
FOLLOW = f"/data/nyc-flights/v1/{DATASET}/follow"
REQUEST = f"GET {FOLLOW} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
IDENTITY = re.compile(rb"^id: (\d+)$", re.MULTILINE)
EVENT_END = b"\n\n"


class Followers:
    """Open streams, read by one thread; knows when each was told of which revision."""

    def __init__(self, address: str, number: int) -> None:
        parts = urlsplit(address)
        self.sockets = [
            socket.create_connection((parts.hostname or "", parts.port or 80), timeout=WAIT_SECONDS)
            for _ in range(number)
        ]
        self.unread = dict.fromkeys(self.sockets, b"")
        self.told = dict.fromkeys(self.sockets, 0)
        self.arrivals: dict[int, list[float]] = {}
        self.changed = threading.Condition()
        self.failure = ""
        self.thread = threading.Thread(target=self.read, daemon=True)

    def open(self) -> None:
        """Asks for all streams, and returns when each was told of the current revision."""
        for each in self.sockets:
            each.sendall(REQUEST)
        self.thread.start()
        self.wait_for(1)

    def read(self) -> None:
        """Notes what comes until a stream ends."""
        with selectors.DefaultSelector() as selector:
            for each in self.sockets:
                selector.register(each, selectors.EVENT_READ, each)
            while True:
                for key, _ in selector.select():
                    stream: socket.socket = key.data
                    try:
                        piece = stream.recv(65_536)
                    except OSError:
                        piece = b""
                    now = time.perf_counter()
                    with self.changed:
                        self.note(stream, piece, now)
                        self.changed.notify_all()
                    if not piece:
                        return

    def note(self, stream: socket.socket, piece: bytes, now: float) -> None:
        """Notes what has come of a stream."""
        whole, _, self.unread[stream] = (self.unread[stream] + piece).rpartition(EVENT_END)
        if not piece:
            self.failure = "A stream ended."
        elif b"HTTP/1.1 " in whole and b"HTTP/1.1 200" not in whole:
            self.failure = f"A stream was refused: {whole[:200]!r}"
        for found in IDENTITY.findall(whole):
            revision = int(found)
            if revision <= self.told[stream]:
                self.failure = f"Revision {revision} came after {self.told[stream]}."
            # An event stands for the revisions that were skipped, too.
            for each in range(self.told[stream] + 1, revision + 1):
                self.arrivals.setdefault(each, []).append(now)
            self.told[stream] = revision

    def wait_for(self, revision: int) -> list[float]:
        """When each follower was told of a revision; BenchError where one never is."""
        with self.changed:
            number = len(self.sockets)
            told = self.changed.wait_for(
                lambda: self.failure or len(self.arrivals.get(revision, [])) == number, WAIT_SECONDS
            )
            if self.failure or not told:
                raise BenchError(self.failure or f"Not all followers were told of revision {revision}.")
            return self.arrivals[revision]


@contextmanager
def open_followers(address: str, number: int) -> Iterator[Followers]:
    """So many open streams."""
    with ExitStack() as stack:
        followers = Followers(address, number)
        for each in followers.sockets:
            stack.enter_context(each)
        followers.open()
        yield followers


def measure(publications: int, number: int) -> list[float]:
    """The seconds from each commit until each follower was told of it."""
    limits = {"DECANT_FOLLOWERS_OF_ADDRESS": str(number), "DECANT_FOLLOWERS_LIMIT": str(number)}
    taken = []
    with open_testbed() as testbed:
        urls = testbed.create_database("bench_follow")
        with (
            run_decant(testbed, urls, "follow", PROCESSES, OFF | limits) as (address, _),
            open_followers(address, number) as followers,
        ):
            publisher = Publisher(testbed, urls, silent=False)
            for revision in range(2, publications + 2):
                publisher.publish(revision, f"Endeavor {revision}")
                began = publisher.watch.began
                taken += [arrived - began for arrived in followers.wait_for(revision)]
    return taken


def main() -> int:
    """Prints the figures; 1 where the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.follow", description=__doc__)
    parser.add_argument("--publications", type=int, default=PUBLICATIONS, help="how many are timed")
    parser.add_argument("--followers", type=int, default=FOLLOWERS, help="how many streams are open")
    options = parser.parse_args()
    if options.publications < 1 or options.followers < 1:
        parser.error("--publications and --followers must be 1 or more")
    try:
        taken = measure(options.publications, options.followers)
    except (BenchError, CatalogError, IngestError) as error:
        print(error, file=sys.stderr)
        return 1
    p50, p99, most = (percentile(taken, share) * 1000 for share in (0.5, 0.99, 1.0))
    print(f"{options.publications} publications, {options.followers} followers, {PROCESSES} processes")
    print(f"commit to event: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms")
    print(f"promised: p99 at most {PROMISED_SECONDS * 1000:.0f} ms")
    return int(p99 > PROMISED_SECONDS * 1000)


if __name__ == "__main__":
    sys.exit(main())
