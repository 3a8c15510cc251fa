"""How soon readers see a publication: `python -m bench.visibility [--publications 200] [--silent]`.

Promised: within a second of its commit a new revision is what every process of the service answers with.
Linux only: which process holds a connection stands in /proc.
"""

from __future__ import annotations

import argparse
import http.client
import math
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from bench.errors import BenchError
from bench.services import run_decant
from bench.testbed import FOLDER, Testbed, open_testbed
from catalog.storage.dataset_tables import build_tables
from ingest.errors import IngestError
from ingest.loading.loader import Loader
from runtime.errors import CatalogError
from runtime.postgres.database import DatabaseUrls, make_engine

PUBLICATIONS = 200
PROCESSES = 2
PROMISED_SECONDS = 1.0  # for 99 of 100 publications
WAIT_SECONDS = 120.0  # for what never comes
PAUSE_SECONDS = 0.001  # between two looks
DATASET = "airlines"
FILE = "airlines.csv"
KEY = "9E"
RECORD = f"/data/nyc-flights/v1/{DATASET}/records/{KEY}"
OFF = {"DECANT_RATE_LIMIT_ANONYMOUS": "off", "DECANT_RATE_LIMIT_DEFAULT": "off"}
NOTIFY = "pg_notify("


class Stopwatch:
    """Knows when the transaction that publishes is committed: it begins to count just before."""

    def __init__(self, engine: sa.Engine, *, silent: bool) -> None:
        self.silent = silent
        self.publishing: Any = None  # the connection that is about to commit a publication
        self.began = 0.0
        self.running = threading.Event()
        sa.event.listen(engine, "before_cursor_execute", self.notice, retval=True)
        sa.event.listen(engine, "commit", self.begin)

    def notice(
        self, connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        """The statement as it is to run; `silent` leaves nothing of the notification."""
        if NOTIFY in statement:
            self.publishing = connection
            if self.silent:
                statement = statement.replace(NOTIFY, "concat(")
        return statement, parameters

    def begin(self, connection: Any) -> None:
        """Nothing comes back; counts from here where a publication is committed."""
        if connection is self.publishing:
            self.publishing = None
            self.began = time.perf_counter()
            self.running.set()


@dataclass(frozen=True)
class Answer:
    """What one look at the record says."""

    revision: int
    text: str


class Reader:
    """A connection to one process of the service, kept open."""

    def __init__(self, address: str, path: str = RECORD) -> None:
        parts = urlsplit(address)
        self.path = path
        self.server_port = parts.port or 80
        self.connection = http.client.HTTPConnection(parts.hostname or "", self.server_port, timeout=WAIT_SECONDS)
        self.look()

    def look(self) -> Answer:
        """What is answered now."""
        self.connection.request("GET", self.path)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status != http.HTTPStatus.OK:
            raise BenchError(f"{self.path} was answered with {answer.status}: {text}")
        return Answer(int(answer.headers["decant-revision"]), text)

    def see(self, revision: int, mark: str, watch: Stopwatch) -> float:
        """When the revision was answered for the first time; BenchError where it never is, or without the mark."""
        if not watch.running.wait(WAIT_SECONDS):
            raise BenchError(f"Revision {revision} was not published.")
        while (answer := self.look()).revision < revision:
            if time.perf_counter() - watch.began > WAIT_SECONDS:
                raise BenchError(f"Revision {revision} was not seen for {WAIT_SECONDS:.0f} s.")
            time.sleep(PAUSE_SECONDS)
        seen = time.perf_counter()
        if answer.revision != revision or mark not in answer.text:
            raise BenchError(f"{mark!r} is not in revision {revision}: {answer}")
        return seen

    def process(self) -> int | None:
        """The process that holds the other end of the connection."""
        port = self.connection.sock.getsockname()[1]
        ends = f":{self.server_port:04X}", f":{port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            facts = line.split()
            if facts[1].endswith(ends[0]) and facts[2].endswith(ends[1]):
                return find_holder(f"socket:[{facts[9]}]")
        return None


def find_holder(socket_name: str) -> int | None:
    """The process that has this socket open."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) == socket_name for entry in (folder / "fd").iterdir()):
                return int(folder.name)
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return None


@contextmanager
def open_readers(address: str, processes: int = PROCESSES, path: str = RECORD) -> Iterator[dict[int, Reader]]:
    """A reader of each process, by its number; connections are opened until every process has taken one."""
    readers: dict[int, Reader] = {}
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while len(readers) < processes:
            if time.monotonic() > deadline:
                raise BenchError(f"{len(readers)} of {processes} processes answered within {WAIT_SECONDS:.0f} s.")
            reader = Reader(address, path)
            process = reader.process()
            if process is None or process in readers:
                reader.connection.close()
            else:
                readers[process] = reader
        yield readers
    finally:
        for reader in readers.values():
            reader.connection.close()


class Publisher:
    """Publishes one changed record at a time."""

    def __init__(self, testbed: Testbed, urls: DatabaseUrls, *, silent: bool) -> None:
        self.dataset = testbed.find(DATASET)
        self.file = testbed.settings.data_folder / FOLDER / FILE
        self.first = self.file.read_text()
        engine = make_engine(urls.ingest)
        tables = build_tables(testbed.catalog.products.values())
        self.loader = Loader(testbed.settings, testbed.catalog, tables, engine)
        self.watch = Stopwatch(engine, silent=silent)

    def publish(self, revision: int, mark: str) -> None:
        """Nothing comes back; the record's name is the mark, in this revision."""
        lines = (f"{KEY},{mark}" if line.startswith(f"{KEY},") else line for line in self.first.splitlines())
        self.file.write_text("\n".join(lines) + "\n")
        report = self.loader.run(self.dataset)
        if report.outcome is None or (report.status, report.outcome.revision) != ("published", revision):
            raise BenchError(f"Revision {revision} was not published: {report.status}. {report.error or ''}")


def time_publications(publisher: Publisher, readers: list[Reader], publications: int) -> list[float]:
    """The seconds from each commit until the last of the processes answers with it."""
    revision = readers[0].look().revision
    taken = []
    with ThreadPoolExecutor(len(readers)) as threads:
        for _ in range(publications):
            publisher.watch.running.clear()
            before = {reader.look().revision for reader in readers}
            if before != {revision}:
                raise BenchError(f"Not all processes answered with revision {revision}: {before}")
            revision += 1
            mark = f"Endeavor {revision}"
            seeing = [threads.submit(reader.see, revision, mark, publisher.watch) for reader in readers]
            publisher.publish(revision, mark)
            taken.append(max(one.result() for one in seeing) - publisher.watch.began)
    return taken


def percentile(values: list[float], share: float) -> float:
    """The smallest value that is at least as great as this share of all."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def measure(publications: int, *, silent: bool) -> list[float]:
    """The seconds of each publication, on a database and a service of their own."""
    with open_testbed() as testbed:
        urls = testbed.create_database("bench_visibility")
        with (
            run_decant(testbed, urls, "visibility", PROCESSES, OFF) as (address, _),
            open_readers(address) as readers,
        ):
            publisher = Publisher(testbed, urls, silent=silent)
            return time_publications(publisher, list(readers.values()), publications)


def main() -> int:
    """Prints the figures; 1 where the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.visibility", description=__doc__)
    parser.add_argument("--publications", type=int, default=PUBLICATIONS, help="how many are timed")
    parser.add_argument("--silent", action="store_true", help="as where no notification arrives: by polling alone")
    options = parser.parse_args()
    if options.publications < 1:
        parser.error("--publications must be 1 or more")
    try:
        taken = measure(options.publications, silent=options.silent)
    except (BenchError, CatalogError, IngestError) as error:
        print(error, file=sys.stderr)
        return 1
    p99 = percentile(taken, 0.99)
    hints = "by polling alone" if options.silent else "notified"
    print(f"{len(taken)} publications, {PROCESSES} processes, {hints}: commit until all answer with it")
    print(f"p50 {percentile(taken, 0.5) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, max {max(taken) * 1000:.1f} ms")
    print(f"promised: p99 under {PROMISED_SECONDS * 1000:.0f} ms")
    return int(p99 >= PROMISED_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
