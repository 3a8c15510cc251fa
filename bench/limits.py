"""The distance to the limits, what tracing costs, and CSV exports beside `psql`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any

import httpx

from api.auth.permissions import Access
from api.datasets.records_sql import PageShape, compile_page
from api.query.parameters import LIMIT_DEFAULT
from api.query.view import Views
from api.sql.keyset import order_of
from api.sql.selection import HEAD
from bench.cases import RECORDS, SELECT, TABLE
from bench.constant import BYTES_VARIABLE
from bench.errors import BenchError
from bench.serve import WARM_UP_SECONDS, Effort
from bench.services import make_environment, read_address, run_process, start_decant
from bench.testbed import PRODUCT, Testbed
from bench.wrk import CONNECTIONS, run_wrk, write_script
from catalog.storage.dataset_tables import build_tables
from runtime.postgres.database import DatabaseUrls

UNCACHED = {"DECANT_CACHE_BYTES": "0"}
EXPORT = f"/data/{PRODUCT}/v1/flights/export?format=csv&at=1"
COPY = (
    f"copy (select {SELECT.removeprefix('select=')} from {TABLE} order by flight_id) to stdout (format csv, header)"
)


@dataclass(frozen=True)
class Compared:
    """Two medians beside each other."""

    name: str
    title: str
    ours: float
    theirs: float
    unit: str
    target: float | None = None

    @property
    def ratio(self) -> float:
        """Ours in theirs."""
        return self.ours / self.theirs

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return asdict(self) | {"ratio": self.ratio}


def measure_limits(
    testbed: Testbed,
    urls: DatabaseUrls,
    effort: Effort,
    report_progress: Callable[[str], None],
    warn: Callable[[str], None],
) -> list[Compared]:
    """The comparisons that could be made; `warn` is told of each that could not."""
    found = [*measure_pages(testbed, urls, effort, report_progress)]
    if (program := shutil.which("psql")) is None:
        warn("The CSV export is left out: psql is not installed.")
    else:
        report_progress("serving, CSV export")
        found.append(measure_export(testbed, urls, effort, program))
    if shutil.which("pgbench") is None:
        warn("The limit of Postgres is left out: pgbench is not installed.")
    else:
        report_progress("serving, the page's statement through pgbench")
        rates = [run_pgbench(testbed, urls, effort.seconds) for _ in range(effort.rounds)]
        found.append(Compared("pgbench", "page, of its statement in pgbench", found[1].ours, median(rates), "per s"))
    return found


def measure_pages(
    testbed: Testbed, urls: DatabaseUrls, effort: Effort, report_progress: Callable[[str], None]
) -> Iterator[Compared]:
    """The page with traces against the page without, and the latter against constant bytes."""
    folder, processes = testbed.flights_csv.parent, effort.processes
    with ExitStack() as stack:
        traced = {
            **UNCACHED,
            "OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(run_null_server()),
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
        addresses = {
            "plain": stack.enter_context(start_decant(testbed, urls, "plain", processes, UNCACHED)),
            "traced": stack.enter_context(start_decant(testbed, urls, "traced", processes, traced)),
        }
        page = httpx.get(addresses["plain"] + RECORDS, trust_env=False).raise_for_status()
        addresses["constant"] = stack.enter_context(start_constant(testbed, urls, len(page.content)))
        scripts = {
            name: write_script(folder / f"limit-{name}.lua", ["/flights" if name == "constant" else RECORDS], {})
            for name in addresses
        }
        for name, url in addresses.items():
            run_wrk(url, scripts[name], WARM_UP_SECONDS)
        rates: dict[str, list[float]] = {name: [] for name in addresses}
        for number in range(1, effort.rounds + 1):
            report_progress(f"serving, traces and constant bytes, round {number} of {effort.rounds}")
            for name, url in addresses.items():
                rates[name].append(run_wrk(url, scripts[name], effort.seconds).requests_per_second)
    medians = {name: median(values) for name, values in rates.items()}
    yield Compared("tracing", "page with 1 % traced", medians["traced"], medians["plain"], "per s", 0.85)
    yield Compared("constant", "page, of constant bytes", medians["plain"], medians["constant"], "per s")


@contextmanager
def start_constant(testbed: Testbed, urls: DatabaseUrls, size: int) -> Iterator[str]:
    """The address of a service that always answers so many bytes."""
    environment = make_environment(testbed, urls) | {BYTES_VARIABLE: str(size)}
    with run_process(testbed, "constant", [sys.executable, "-m", "bench.constant"], environment) as process:
        yield read_address(process, testbed, "constant")


@contextmanager
def run_null_server() -> Iterator[str]:
    """The address of a collector that forgets what it is sent."""

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Takes the spans."""
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_values: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def measure_export(testbed: Testbed, urls: DatabaseUrls, effort: Effort, program: str) -> Compared:
    """Bytes per second of the whole dataset as CSV, in turns with psql's COPY of the same columns."""
    ours, theirs = [], []
    with start_decant(testbed, urls, "exporting", effort.processes, {}) as address:
        for _ in range(effort.rounds + 1):
            ours.append(time_export(address))
            theirs.append(time_copy(urls, program))
    # The first of each met cold files.
    rates = [median(values[1:]) / 1e6 for values in (ours, theirs)]
    return Compared("export", "CSV export, of psql's copy", rates[0], rates[1], "MB/s", 0.7)


def time_export(address: str) -> float:
    """Bytes per second of one export."""
    size, started = 0, time.perf_counter()
    headers = {"Accept-Encoding": "identity"}
    with httpx.stream("GET", address + EXPORT, headers=headers, timeout=120, trust_env=False) as answer:
        answer.raise_for_status()
        for block in answer.iter_raw():
            size += len(block)
    return size / (time.perf_counter() - started)


def time_copy(urls: DatabaseUrls, program: str) -> float:
    """Bytes per second of one COPY through psql, which somebody reads."""
    size, started = 0, time.perf_counter()
    with subprocess.Popen([program, "-X", "-q", "-c", COPY, urls.read], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 16):
            size += len(block)
    if process.returncode or not size:
        raise BenchError(f"psql ended with status {process.returncode}.")
    return size / (time.perf_counter() - started)


def run_pgbench(testbed: Testbed, urls: DatabaseUrls, seconds: int) -> float:
    """The page's statement per second, prepared, over as many connections as the services have."""
    file = testbed.flights_csv.with_name("page.sql")
    file.write_bytes(page_statement(testbed) + b";\n")
    command = ["pgbench", "-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", "1", "-T", str(seconds)]
    done = subprocess.run([*command, "-f", str(file), urls.read], capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or found is None:
        raise BenchError(f"pgbench failed: {done.stderr.strip()[-1000:]}")
    return float(found[1])


def page_statement(testbed: Testbed) -> bytes:
    """The statement of the first page, as Decant runs it."""
    dataset = testbed.flights
    views = Views(
        build_tables(testbed.catalog.products.values()),
        {dataset.schema: ""},
        bytes(32),
        testbed.settings.url_limit_bytes,
    )
    view = views.of(dataset, Access())
    shape = PageShape((), order_of(dataset, ()), view.properties, LIMIT_DEFAULT, HEAD, after=None)
    statement = compile_page(view, shape)
    if statement.names:
        raise BenchError("The statement of the first page has parameters: pgbench cannot be given any here.")
    return statement.text
