"""How fast and how heavy the portal's pages are: `python -m bench portal [--requests 40]`.

Each page is asked one request after another, of a service that keeps no answers and of one that does; the figures
are those that a reader waits for on the same machine. Limits stand beside them, in `bench/portal_pages.py`.
`--datasets 500` adds the pages that list what there is, over a catalogue of so many datasets.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from api.auth.api_keys import create_key
from bench.portal_many import LISTS, OPERATOR_LISTS, open_many
from bench.portal_pages import FIRST, OPEN_PAGES, OWNER_PAGES, SIGN_IN, Limits, Measured
from bench.serve import load_flights
from bench.services import run_decant
from bench.testbed import Testbed, open_testbed
from bench.visibility import percentile
from catalog.storage.dataset_tables import CatalogTables, build_tables
from ingest.inspection.column_statistics import refresh_profiles
from ingest.loading.loader import Loader
from runtime.postgres.database import DatabaseUrls, make_engine
from runtime.settings.secret import read_secret
from runtime.shipped import DEMO_DATA, SHIPPED_REPORTS

REQUESTS = 40
CACHES = {"made": "0", "kept": "67108864"}  # bytes of the service's cache
SCOPES = ("nyc-flights:read", "airport-checkpoints:read", "ops:read", "ops:write", "keys:admin")
OURS = {"Sec-Fetch-Site": "same-origin"}


class Times(NamedTuple):
    """A page as one service answered it."""

    p95_ms: float
    packed_bytes: int


class Figure(NamedTuple):
    """A page as it was measured; `kept` is that of a service that keeps answers."""

    name: str
    limits: Limits
    made: Times
    kept: Times | None = None

    @property
    def is_slow(self) -> bool:
        """Whether it takes longer than promised where no answer is kept."""
        return self.made.p95_ms > self.limits.ms

    @property
    def is_heavy(self) -> bool:
        """Whether it has more bytes than promised."""
        return self.made.packed_bytes > self.limits.packed_bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures; 1 where a limit is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench portal", description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each page")
    parser.add_argument("--datasets", type=int, default=0, help="of a large catalogue, which is measured too")
    options = parser.parse_args(arguments)
    with open_testbed() as testbed:
        figures = measure_demo(testbed, options.requests)
        if options.datasets:
            figures += measure_many(testbed, options.datasets, options.requests)
    return int(not show(figures, Console()))


def measure_demo(testbed: Testbed, requests: int) -> list[Figure]:
    """The pages over the demo's products."""
    urls = load_flights(testbed)
    for dataset in testbed.catalog.find("nyc-flights"):
        testbed.load(urls, dataset)
    load_checkpoints(testbed, urls)
    refresh_profiles(make_engine(urls.ingest), tables_of(testbed), testbed.catalog.datasets())
    testbed.settle(urls)
    key = create_key(make_engine(urls.write), read_secret(testbed.settings), "bench", SCOPES)
    reports = {"DECANT_REPORTS": str(SHIPPED_REPORTS)}
    first, made, kept = (
        ask_service(testbed, urls, f"portal-{name}", {"DECANT_CACHE_BYTES": size} | reports, measure)
        for name, size, measure in (
            ("first", CACHES["made"], measure_first),
            ("made", CACHES["made"], lambda client: measure_pages(client, key, requests)),
            ("kept", CACHES["kept"], lambda client: measure_pages(client, key, requests)),
        )
    )
    pages = (*OPEN_PAGES, SIGN_IN, *OWNER_PAGES)
    figures = [Figure(page.name, page.limits, made[page.name], kept[page.name]) for page in pages]
    return [*figures, Figure(FIRST.name, FIRST.limits, first[FIRST.name])]


def ask_service(
    testbed: Testbed,
    urls: DatabaseUrls,
    name: str,
    settings: dict[str, str],
    measure: Callable[[httpx.Client], dict[str, Times]],
) -> dict[str, Times]:
    """What is measured of a service that is started for it."""
    with (
        run_decant(testbed, urls, name, 1, settings) as (address, _),
        httpx.Client(base_url=address, timeout=60, headers={"Accept-Encoding": "gzip"}, trust_env=False) as client,
    ):
        return measure(client)


def load_checkpoints(testbed: Testbed, urls: DatabaseUrls) -> None:
    """The demo's own deliveries, which leave rejected records and a withheld load behind."""
    for product in sorted(DEMO_DATA.iterdir()):
        target = testbed.settings.data_folder / product.name
        target.mkdir(exist_ok=True)
        for delivery in sorted(product.iterdir(), key=lambda folder: int(folder.name)):
            for file in delivery.iterdir():
                shutil.copyfile(file, target / file.name)
            for dataset in testbed.catalog.find(product.name):
                Loader(testbed.settings, testbed.catalog, tables_of(testbed), make_engine(urls.ingest)).run(dataset)


def tables_of(testbed: Testbed) -> CatalogTables:
    """The tables of the testbed's catalogue."""
    return build_tables(testbed.catalog.products.values())


def measure_first(client: httpx.Client) -> dict[str, Times]:
    """The first view of a report: nothing of it is kept, and nothing has been drawn."""
    return {FIRST.name: time_requests(lambda: client.get(FIRST.path), 1)}


def measure_pages(client: httpx.Client, key: str, requests: int) -> dict[str, Times]:
    """The figures of every page, by its name; those of owners after a sign-in."""
    found = time_pages(client, OPEN_PAGES, requests)
    form = {"key": key, "next": "/account"}
    found[SIGN_IN.name] = time_requests(lambda: client.post(SIGN_IN.path, data=form, headers=OURS), requests)
    withheld = client.get("/operations/loads?status=withheld", headers={"X-API-Key": key}).json()["data"][0]["id"]
    wanted = {"product": "nyc-flights", "address": "https://hooks.example/decant"}
    webhook = client.post("/subscriptions", json=wanted, headers={"X-API-Key": key}).json()["data"]["id"]
    names = {"withheld": withheld, "key": key.split("_")[1], "webhook": webhook}
    pages = [page._replace(path=page.path.format(**names)) for page in OWNER_PAGES]
    return found | time_pages(client, pages, requests)


def measure_many(testbed: Testbed, datasets: int, requests: int) -> list[Figure]:
    """The pages that list what there is, over a large catalogue."""
    with open_many(testbed, datasets) as (large, urls):
        key = create_key(make_engine(urls.write), read_secret(large.settings), "bench", SCOPES)

        def measure(client: httpx.Client) -> dict[str, Times]:
            found = time_pages(client, LISTS, requests)
            client.headers["X-API-Key"] = key
            return found | time_pages(client, OPERATOR_LISTS, requests)

        made, kept = (
            ask_service(large, urls, f"many-{name}", {"DECANT_CACHE_BYTES": size}, measure)
            for name, size in CACHES.items()
        )
    return [
        Figure(f"{page.name} of {datasets:,} datasets", page.limits, made[page.name], kept[page.name])
        for page in (*LISTS, *OPERATOR_LISTS)
    ]


def time_pages(client: httpx.Client, pages: Iterable[Measured], requests: int) -> dict[str, Times]:
    """The figures of pages by their names, each after a first request."""
    found = {}
    for page in pages:
        client.get(page.path).raise_for_status()
        found[page.name] = time_requests(lambda path=page.path: client.get(path), requests)  # type: ignore[misc]
    return found


def time_requests(send: Callable[[], httpx.Response], requests: int) -> Times:
    """The p95 of the milliseconds of a request, and its size as it is sent."""
    times, size = [], 0
    for _ in range(requests):
        started = time.perf_counter()
        response = send()
        times.append((time.perf_counter() - started) * 1000)
        if response.is_error:
            response.raise_for_status()
        size = int(response.headers.get("content-length", 0))
    return Times(percentile(times, 0.95), size)


def show(figures: Sequence[Figure], out: Console) -> bool:
    """Prints a table; whether every page keeps its limits. What is over stands in red, and says so."""
    table = Table("page", *(f"{name}, p95" for name in CACHES), "limit", "gzip", "limit")
    for column in table.columns[1:]:
        column.justify = "right"
    for figure in figures:
        kept = f"{figure.kept.p95_ms:.0f}" if figure.kept else "–"
        table.add_row(
            figure.name,
            mark(f"{figure.made.p95_ms:.0f}", is_over=figure.is_slow),
            kept,
            f"{figure.limits.ms:.0f} ms",
            mark(f"{figure.made.packed_bytes:,}", is_over=figure.is_heavy),
            f"{figure.limits.packed_bytes:,} B",
        )
    out.print(table)
    over = sum(figure.is_slow or figure.is_heavy for figure in figures)
    out.print(f"{over} of {len(figures)} pages over a limit")
    return not over


def mark(text: str, *, is_over: bool) -> str:
    """A figure, marked where it is over its limit."""
    return f"[red]over {text}[/red]" if is_over else text


if __name__ == "__main__":
    sys.exit(main())
