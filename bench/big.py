"""A big dataset: whether the last pages of a walk take longer than its first, and the memory of its exports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import httpx
import psycopg

from bench.cases import RECORDS, TABLE
from bench.errors import BenchError
from bench.memory import BigExport, measure_exports
from bench.services import run_decant, start_decant
from bench.testbed import PRODUCT, Testbed
from runtime.postgres.database import DatabaseUrls

BIG_DATABASE = "bench_big"
PAGE_RECORDS = 1000
EDGE_PAGES = 50  # pages at either end that are compared
TURNS = 20  # how often each of them is asked for
REPORT_EVERY = 100  # pages
EXPORTING = {"DECANT_EXPORT_TIMEOUT_SECONDS": "3600", "DECANT_EXPORT_CACHE_BYTES": "20000000000"}
SLOWDOWN = 1.2  # the promise: the last pages take at most so many times as long as the first
MARK = b'"flight_id"'

# The doubled signs of per cent are what the driver wants: one of them stands for modulo.
FILL = f"""INSERT INTO {TABLE}
  SELECT 'flight-' || lpad(n::text, 10, '0'), leaves::date, 'UA', n %% 9999 + 1, 'N14228', 'EWR', 'IAH',
    leaves, leaves, n %% 90, lands, lands, n %% 60, n %% 50 = 0, n %% 600 + 1, n %% 3000 + 1, 1, 1, n
  FROM generate_series(1, %s) AS n,
    LATERAL (SELECT timestamptz '2013-01-01' + n * interval '3 seconds' AS leaves) AS a,
    LATERAL (SELECT leaves + interval '4 hours' AS lands) AS b"""
LEDGER = """WITH head AS (
    UPDATE decant.datasets SET revision = 1, oldest_revision = 1, record_count = %(records)s, published_at = now()
    WHERE product = %(product)s AND dataset = 'flights' RETURNING id
  ), made AS (
    INSERT INTO decant.loads (dataset_id, kind, status, revision, finished_at)
    SELECT id, 'ingest', 'published', 1, now() FROM head RETURNING id, dataset_id
  )
  INSERT INTO decant.revisions (dataset_id, revision, load_id, record_count, inserted, updated, deleted)
  SELECT dataset_id, 1, id, %(records)s, %(records)s, 0, 0 FROM made"""
INDEXES = "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass"


@dataclass(frozen=True)
class BigPagination:
    """What a whole walk took, and its first and last pages in turns."""

    records: int
    pages: int
    seconds: float
    first_ms: float
    last_ms: float
    exports: list[BigExport]

    @property
    def slowdown(self) -> float:
        """How many times as long the last pages take as the first."""
        return self.last_ms / self.first_ms

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        exports = {export.form: export.as_json() for export in self.exports}
        return vars(self) | {"slowdown": self.slowdown, "target": SLOWDOWN, "exports": exports}


def measure_big(testbed: Testbed, records: int, report_progress: Callable[[str], None]) -> BigPagination:
    """A walk over so many flights, which Postgres makes up."""
    if records < 2 * EDGE_PAGES * PAGE_RECORDS:
        raise BenchError(f"A walk shows something from {2 * EDGE_PAGES * PAGE_RECORDS:,} records on.")
    urls = testbed.create_database(BIG_DATABASE)
    report_progress(f"making {records:,} flights")
    fill(urls, records)
    testbed.settle(urls)
    with run_decant(testbed, urls, "big-exports", 1, EXPORTING) as (address, process):
        exports = measure_exports(address, process, report_progress)
    with (
        start_decant(testbed, urls, "big", 1, {"DECANT_CACHE_BYTES": "0"}) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
    ):
        started = time.perf_counter()
        paths, found = walk_all(client, records, report_progress)
        seconds = time.perf_counter() - started
        if found != records:
            raise BenchError(f"The walk saw {found:,} records of {records:,}.")
        # The last page has fewer records, or none: it is no equal of the others.
        full = paths[:-1]
        first, last = time_edges(client, full[:EDGE_PAGES], full[-EDGE_PAGES:])
    return BigPagination(records, len(paths), seconds, first, last, exports)


def fill(urls: DatabaseUrls, records: int) -> None:
    """Nothing comes back; the flights are published, with every index that a load would leave behind."""
    with psycopg.connect(urls.owner) as connection:
        indexes = connection.execute(INDEXES, [TABLE]).fetchall()
        others = [(name, definition) for name, definition in indexes if "UNIQUE" not in definition]
        for name, _ in others:
            connection.execute(f"DROP INDEX {name}")
        connection.execute(FILL, [records])
        for _, definition in others:
            connection.execute(definition)
        connection.execute(LEDGER, {"records": records, "product": PRODUCT})


def walk_all(client: httpx.Client, records: int, report_progress: Callable[[str], None]) -> tuple[list[str], int]:
    """The path of every page, and how many records they held."""
    path: str | None = f"{RECORDS}?limit={PAGE_RECORDS}"
    paths: list[str] = []
    found = 0
    while path is not None:
        answer = client.get(path).raise_for_status()
        paths.append(path)
        found += answer.content.count(MARK)
        path = answer.links["next"]["url"] if "next" in answer.links else None
        if len(paths) % REPORT_EVERY == 0:
            report_progress(f"walking over {records:,} records: {found / records:.0%}")
    return paths, found


def time_edges(client: httpx.Client, first: list[str], last: list[str]) -> tuple[float, float]:
    """The medians of both ends in milliseconds; they take turns, so that noise meets both."""
    taken: tuple[list[float], list[float]] = [], []
    for turn in range(TURNS + 1):
        for pair in zip(first, last, strict=True):
            for path, times in zip(pair, taken, strict=True):
                started = time.perf_counter()
                client.get(path).raise_for_status()
                if turn:  # the first turn meets cold files
                    times.append((time.perf_counter() - started) * 1000)
    return median(taken[0]), median(taken[1])
