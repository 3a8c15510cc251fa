"""Serving, timed: Decant and its yardsticks on one table, asked for the same in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import httpx

from bench.cases import Case, list_cases
from bench.errors import BenchError
from bench.same import require_same
from bench.services import find_postgrest, start_decant, start_postgrest, start_yardstick
from bench.testbed import Testbed
from bench.wrk import run_wrk, write_script
from runtime.postgres.database import DatabaseUrls

SERVE_DATABASE = "bench_serve"
WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Effort:
    """How long and how often something is asked for."""

    rounds: int
    seconds: int
    processes: int


@dataclass(frozen=True)
class Services:
    """Where the services listen: `decant` reads every answer, `cached` is the same with its cache."""

    addresses: dict[str, str]
    cached: str

    def of(self, case: Case) -> dict[str, str]:
        """The addresses that a case asks."""
        return self.addresses | ({"decant": self.cached} if case.cached else {})


def require_yardstick() -> None:
    """Nothing comes back; BenchError that names what the idiomatic service lacks."""
    missing = [name for name in ("asyncpg", "greenlet") if find_spec(name) is None]
    if missing:
        raise BenchError(f"The idiomatic service needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def load_flights(testbed: Testbed) -> DatabaseUrls:
    """The logins of a database that holds the flights."""
    urls = testbed.create_database(SERVE_DATABASE)
    testbed.input_file.write_bytes(testbed.flights_csv.read_bytes())
    testbed.load(urls, testbed.flights)
    testbed.settle(urls)
    return urls


def measure_serve(
    testbed: Testbed, urls: DatabaseUrls, effort: Effort, report_progress: Callable[[str], None]
) -> list[Case]:
    """Every case, each service in turn, round after round."""
    with open_services(testbed, urls, effort.processes) as services:
        with httpx.Client(timeout=30, trust_env=False) as client:
            cases = list_cases(client, services.addresses["decant"], urls)
            for case in cases:
                # An answer without a body shows nothing: the same paths are compared without the tag.
                headers = {} if case.name == "not_modified" else case.headers
                require_same(client, services.of(case), case.paths, headers)
        for case in cases:
            measure_case(testbed, case, services.of(case), effort, report_progress)
    return cases


@contextmanager
def open_services(testbed: Testbed, urls: DatabaseUrls, processes: int) -> Iterator[Services]:
    """Every service, started, until the context ends."""
    with ExitStack() as stack:
        addresses = {
            "decant": stack.enter_context(
                start_decant(testbed, urls, "decant", processes, {"DECANT_CACHE_BYTES": "0"})
            ),
            "idiomatic": stack.enter_context(start_yardstick(testbed, urls, "idiomatic", processes)),
            "bare": stack.enter_context(start_yardstick(testbed, urls, "bare", processes)),
        }
        cached = stack.enter_context(start_decant(testbed, urls, "cached", processes, {}))
        if binary := find_postgrest():
            addresses["postgrest"] = stack.enter_context(start_postgrest(testbed, urls, binary))
        yield Services(addresses, cached)


def measure_case(
    testbed: Testbed, case: Case, addresses: dict[str, str], effort: Effort, report_progress: Callable[[str], None]
) -> None:
    """Nothing comes back; the case has its rounds. The services take turns, so that noise meets all of them."""
    folder = testbed.flights_csv.parent
    scripts = {
        name: write_script(folder / f"{case.name}-{name}.lua", case.paths[name], case.headers.get(name, {}))
        for name in addresses
    }
    for name, url in addresses.items():
        run_wrk(url, scripts[name], WARM_UP_SECONDS)
    case.rounds = {name: [] for name in addresses}
    for number in range(1, effort.rounds + 1):
        report_progress(f"serving, {case.title}, round {number} of {effort.rounds}")
        for name, url in addresses.items():
            case.rounds[name].append(run_wrk(url, scripts[name], effort.seconds))
