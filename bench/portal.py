"""How fast and how heavy the portal's pages are: `python -m bench.portal [--requests 40]`.

Each page is asked one request after another, of a service that keeps no answers and of one that does; the figures
are those that a reader waits for on the same machine. Promised (p95): catalogue 50 ms, dataset 80, explorer 120,
counted values 300.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from bench.serve import load_flights
from bench.services import run_decant
from bench.testbed import open_testbed
from bench.visibility import percentile
from catalog.storage.dataset_tables import build_tables
from ingest.inspection.column_statistics import refresh_profiles
from runtime.postgres.database import make_engine

REQUESTS = 40
BASE = "/browse/nyc-flights/v1"
FLIGHTS = f"{BASE}/flights"
SUMMER = "flight_date[gte]=2013-06-01&flight_date[lt]=2013-09-01"
PAGES = {
    "catalogue": ("/", 50),
    "search": ("/browse?q=delay", 50),
    "product": (BASE, 80),
    "dataset": (FLIGHTS, 80),
    "property": (f"{FLIGHTS}/properties/departure_delay", 80),
    "explorer, records": (f"{FLIGHTS}/explore?carrier=UA", 120),
    "explorer, chart": (f"{FLIGHTS}/explore?{SUMMER}&group_by=carrier&measure=avg:departure_delay", 120),
    "explorer, multiples": (
        f"{FLIGHTS}/explore?{SUMMER}&group_by=day(flight_date),origin&limit=1000&view=multiples",
        120,
    ),
    "counted values": (f"{FLIGHTS}/explore/facets/origin?carrier=UA", 300),
    "contract": (f"{BASE}/contract", 80),
    "record": (f"{FLIGHTS}/records/2013-01-01-UA1545-EWR-0515", 80),
}


class Figure(NamedTuple):
    """One page as it was measured."""

    page: str
    promised_ms: int
    made_ms: float  # p95, of a service that keeps no answers
    kept_ms: float  # p95, of one that does
    packed_bytes: int


def main() -> int:
    """Prints the figures; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.portal", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each page")
    options = parser.parse_args()
    with open_testbed() as testbed:
        urls = load_flights(testbed)
        catalog = testbed.catalog
        refresh_profiles(make_engine(urls.ingest), build_tables(catalog.products.values()), catalog.datasets())
        measured = []
        for cache_bytes in ("0", "67108864"):
            settings = {"DECANT_CACHE_BYTES": cache_bytes}
            with run_decant(testbed, urls, f"portal{cache_bytes}", 1, settings) as (address, _):
                measured.append(measure(address, options.requests))
    made, kept = measured
    figures = [Figure(name, PAGES[name][1], made[name][0], kept[name][0], kept[name][1]) for name in PAGES]
    return int(not show(figures))


def measure(address: str, requests: int) -> dict[str, tuple[float, int]]:
    """Of each page, the p95 of its milliseconds after a first request, and its size as it is sent."""
    found = {}
    with httpx.Client(base_url=address, timeout=60, headers={"Accept-Encoding": "gzip"}, trust_env=False) as client:
        for name, (path, _) in PAGES.items():
            size = int(client.get(path).raise_for_status().headers["content-length"])
            times = []
            for _ in range(requests):
                started = time.perf_counter()
                client.get(path).raise_for_status()
                times.append((time.perf_counter() - started) * 1000)
            found[name] = (percentile(times, 0.95), size)
    return found


def show(figures: list[Figure]) -> bool:
    """A table; whether every page is made within its promise."""
    table = Table("page", "promised", "made, p95", "kept, p95", "gzip")
    for figure in figures:
        table.add_row(
            figure.page,
            f"{figure.promised_ms} ms",
            f"{figure.made_ms:.1f} ms",
            f"{figure.kept_ms:.1f} ms",
            f"{figure.packed_bytes:,} B",
        )
    Console().print(table)
    return all(figure.made_ms <= figure.promised_ms for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
