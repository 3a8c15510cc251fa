"""What a well-behaved caller feels of a neighbour: `python -m bench.neighbours [--runs 5] [--seconds 10]`.

Promised: beside a neighbour who does their worst within the rate limit, the well-behaved caller's p99 is at most
three times what it is beside an equal one, and nothing fails; /livez answers within 100 ms at p99, and never takes a
second.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import median
from urllib.parse import urlsplit

from api.auth.api_keys import create_key
from bench.neighbour_acts import ACTS, PUSH_SCOPE, PUSHED, behave
from bench.serve import load_flights
from bench.services import run_decant
from bench.testbed import Testbed, open_testbed
from bench.visibility import percentile
from catalog.contract.load import load_catalog
from catalog.migration.migrate import migrate
from runtime.postgres.database import DatabaseUrls, make_engine
from runtime.settings.secret import read_secret
from runtime.settings.settings import Settings

RUNS = 5
SECONDS = 10.0
P99 = 0.99
LIVEZ_SECONDS = 0.05
SETTLING_SECONDS = 1.0  # for a neighbour to begin
PROMISED_RATIO = 3.0
PROMISED_LIVEZ = (0.1, 1.0)  # seconds at p99, and at most
DEFAULTS = {
    "DECANT_RATE_LIMIT_ANONYMOUS": "1200/minute",
    "DECANT_RATE_LIMIT_DEFAULT": "6000/minute",
    "DECANT_READ_POOL_SIZE": "8",
}


@dataclass(frozen=True)
class Impact:
    """What was measured beside one neighbour: seconds, and answers that were none."""

    p99: float
    errors: int
    livez_p99: float
    livez_most: float


async def watch_livez(address: str, seconds: float) -> list[float]:
    """Seconds of each of many looks at /livez, each over a connection of its own."""
    parts = urlsplit(address)
    # By hand: to make a client takes longer than the answer does, and would hold up whoever else is measured here.
    request = f"GET /livez HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
    taken = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request)
            await reader.read()
            writer.close()
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(LIVEZ_SECONDS)
    return taken


@contextmanager
def run_neighbour(name: str, address: str, key: str, seconds: float) -> Iterator[None]:
    """A neighbour in a process of its own, ended with the block."""
    command = [sys.executable, "-m", "bench.neighbours", "--act", name, address, key, str(seconds)]
    with subprocess.Popen(command) as process:
        try:
            time.sleep(SETTLING_SECONDS)
            yield
        finally:
            process.terminate()


async def measure_impact(address: str, key: str, seconds: float) -> Impact:
    """What the well-behaved caller and the health check measure."""
    (taken, failed), livez = await asyncio.gather(behave(address, key, seconds), watch_livez(address, seconds))
    return Impact(percentile(taken, P99), failed, percentile(livez, P99), max(livez))


def measure(testbed: Testbed, urls: DatabaseUrls, runs: int, seconds: float) -> dict[str, list[Impact]]:
    """What is felt beside each neighbour, `runs` times in turn."""
    found: dict[str, list[Impact]] = {name: [] for name in ACTS}
    good, bad = (make_key(testbed.settings, urls, name) for name in ("good", "neighbour"))
    for _ in range(runs):
        for name in ACTS:
            # Anew each time: what one neighbour left behind is no other's.
            with (
                run_decant(testbed, urls, "neighbours", 1, DEFAULTS) as (address, _),
                run_neighbour(name, address, bad, seconds + 2 * SETTLING_SECONDS),
            ):
                found[name].append(asyncio.run(measure_impact(address, good, seconds)))
    return found


def make_key(settings: Settings, urls: DatabaseUrls, name: str) -> str:
    """A key that may read flights, and push."""
    return create_key(make_engine(urls.owner), read_secret(settings), name, ["nyc-flights:read", PUSH_SCOPE])


def add_pushed(testbed: Testbed, urls: DatabaseUrls) -> Testbed:
    """The ground with one more product, which records are pushed to."""
    contracts = shutil.copytree(testbed.settings.contracts, testbed.settings.data_folder / "contracts")
    (contracts / "pushed.odcs.yaml").write_text(PUSHED)
    settings = testbed.settings.model_copy(update={"contracts": contracts})
    catalog = load_catalog(settings)
    migrate(settings, urls.owner, catalog)
    return replace(testbed, settings=settings, catalog=catalog)


def show(found: dict[str, list[Impact]]) -> bool:
    """Prints medians of the runs; whether every promise is kept."""
    equal = median(impact.p99 for impact in found["equal"])
    kept = True
    print(f"{'beside':<20}{'p99 ms':>9}{'x equal':>9}{'errors':>8}{'livez p99':>11}{'livez max':>11}")
    for name, runs in found.items():
        p99 = median(impact.p99 for impact in runs)
        errors = sum(impact.errors for impact in runs)
        livez, most = median(impact.livez_p99 for impact in runs), max(impact.livez_most for impact in runs)
        quick = p99 <= PROMISED_RATIO * equal and livez <= PROMISED_LIVEZ[0] and most <= PROMISED_LIVEZ[1]
        kept = kept and quick and not errors
        print(
            f"{name:<20}{p99 * 1000:9.1f}{p99 / equal:9.2f}{errors:8}{livez * 1000:11.1f}{most * 1000:11.1f}",
            flush=True,
        )
    return kept


def main() -> int:
    """Prints the figures; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="of which medians are taken")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each run")
    parser.add_argument("--act", nargs=4, metavar=("NAME", "ADDRESS", "KEY", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        name, address, key, seconds = options.act
        asyncio.run(ACTS[name](address, key, float(seconds)))  # type: ignore[arg-type]
        return 0
    with open_testbed() as testbed:
        urls = load_flights(testbed)
        found = measure(add_pushed(testbed, urls), urls, options.runs, options.seconds)
    return int(not show(found))


if __name__ == "__main__":
    sys.exit(main())
