"""What it costs to follow many datasets: `python -m bench.heads [--datasets 2000] [--moves 50] [--publications 30]`.

Heads are moved as a publication leaves them, a row and a notification, some tens a second, while records of one more
dataset are published and looked for in every process. Promised: each process needs less than a tenth of a core for
what it follows, and answers with a publication within a second of its commit. Linux only.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.errors import BenchError
from bench.services import run_decant
from bench.testbed import open_testbed
from bench.visibility import OFF, PROMISED_SECONDS, Publisher, open_readers, percentile, time_publications
from ingest.errors import IngestError
from runtime.errors import CatalogError

DATASETS = 2000
MOVES = 50  # a second
PUBLICATIONS = 30
PROCESSES = 4
IDLE_SECONDS = 10.0  # of moves, and nothing else: what is measured is following
PROMISED_SHARE = 0.1  # of a core
TICKS = os.sysconf("SC_CLK_TCK")
MAKE = """
INSERT INTO decant.datasets (product, major, dataset, revision, oldest_revision, contract_version, contract_sha256)
SELECT 'made', 1, 'd' || n, 1, 1, '1.0.0', '' FROM generate_series(1, %s) AS n RETURNING id
"""
MOVE = """
UPDATE decant.datasets SET revision = revision + 1, published_at = now() WHERE id = %s
RETURNING pg_notify('decant_revisions', id || ':' || revision)
"""


class Mover:
    """Moves heads at a steady rate."""

    def __init__(self, url: str, numbers: list[int], rate: float, statement: str = MOVE) -> None:
        self.url = url
        self.statement = statement
        self.numbers = numbers
        self.rate = rate
        self.moved = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Nothing comes back; moves one head after another until `ended` is set."""
        source = random.Random(11)
        with psycopg.connect(self.url, autocommit=True) as connection:
            due = time.perf_counter()
            while not self.ended.wait(max(due - time.perf_counter(), 0)):
                connection.execute(self.statement.encode(), (source.choice(self.numbers),))
                self.moved += 1
                due += 1 / self.rate


@contextmanager
def keep_moving(mover: Mover) -> Iterator[None]:
    """Heads move for as long as the block lasts."""
    thread = threading.Thread(target=mover.run)
    thread.start()
    try:
        yield
    finally:
        mover.ended.set()
        thread.join()


def cpu_seconds(process: int) -> float:
    """What a process has used so far."""
    facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / TICKS


def measure(datasets: int, moves: int, publications: int) -> bool:
    """Prints what was measured; whether the promises are kept."""
    with open_testbed() as testbed:
        urls = testbed.create_database("bench_heads")
        with psycopg.connect(urls.owner) as connection:
            numbers = [number for (number,) in connection.execute(MAKE, (datasets,))]
        with run_decant(testbed, urls, "heads", PROCESSES, OFF) as (address, _):
            with open_readers(address, PROCESSES) as readers:
                processes = list(readers)
            mover = Mover(urls.ingest, numbers, moves)
            resting = shares(processes)
            with keep_moving(mover):
                before = mover.moved
                following = shares(processes)
                rate = (mover.moved - before) / IDLE_SECONDS
                publisher = Publisher(testbed, urls, silent=False)
                with open_readers(address, PROCESSES) as readers:  # anew: nobody keeps a silent connection
                    taken = time_publications(publisher, list(readers.values()), publications)
    p99 = percentile(taken, 0.99)
    print(f"{datasets} datasets, {PROCESSES} processes, {rate:.1f} heads moved a second")
    print(f"share of a core per process: {written(following)}; where nothing moves: {written(resting)}")
    print(f"{len(taken)} publications meanwhile, commit until all answer with it:")
    print(f"p50 {percentile(taken, 0.5) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, max {max(taken) * 1000:.1f} ms")
    print(f"promised: less than {PROMISED_SHARE:.0%} of a core, p99 under {PROMISED_SECONDS * 1000:.0f} ms")
    return max(following) < PROMISED_SHARE and p99 < PROMISED_SECONDS


def shares(processes: list[int]) -> list[float]:
    """The part of a core that each process uses in some seconds."""
    before = [cpu_seconds(process) for process in processes]
    began = time.perf_counter()
    time.sleep(IDLE_SECONDS)
    seconds = time.perf_counter() - began
    return [(cpu_seconds(process) - used) / seconds for process, used in zip(processes, before, strict=True)]


def written(values: list[float]) -> str:
    """The parts in per cent."""
    return ", ".join(f"{value:.1%}" for value in values)


def main() -> int:
    """Prints the figures; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.heads", description=__doc__)
    parser.add_argument("--datasets", type=int, default=DATASETS, help="how many heads there are")
    parser.add_argument("--moves", type=int, default=MOVES, help="heads that move in a second")
    parser.add_argument("--publications", type=int, default=PUBLICATIONS, help="how many are timed meanwhile")
    options = parser.parse_args()
    try:
        kept = measure(options.datasets, options.moves, options.publications)
    except (BenchError, CatalogError, IngestError) as error:
        print(error, file=sys.stderr)
        return 1
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
