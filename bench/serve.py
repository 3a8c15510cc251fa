"""Serving, timed: Decant, the idiomatic service and the bare path on one table, asked for the same in turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from bench.errors import BenchError
from bench.ground import PRODUCT, Ground
from bench.listen import ANNOUNCEMENT, DATABASE_VARIABLE
from bench.same import require_same
from bench.wrk import Round, run_wrk, write_script
from catalog.database import DatabaseUrls
from catalog.settings import PROJECT_ROOT

SERVE_DATABASE = "bench_serve"
SERVICES = ("decant", "idiomatic", "bare")
STOP_SECONDS = 15.0
WARM_UP_SECONDS = 1
RECORDS = f"/data/{PRODUCT}/v1/flights/records"
DISTANCE = 1000  # miles
KEYS = 1000  # single records that are asked for
WALKS = 10  # places in the middle of a walk
WALK_STEP = 1000  # records between them, times the pages read from one to the next
PAGES_BETWEEN = 10


@dataclass
class Case:
    """One kind of request: the paths that each service is asked for, and every round that was counted."""

    name: str
    title: str
    target: float | None  # at least so many times the idiomatic service's requests per second
    paths: dict[str, list[str]]
    rounds: dict[str, list[Round]] = field(default_factory=lambda: {name: [] for name in SERVICES})

    def rate(self, service: str) -> float:
        """The median of a service's requests per second."""
        return median(r.requests_per_second for r in self.rounds[service])

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return {
            "target": self.target,
            "ratio_to_idiomatic": self.rate("decant") / self.rate("idiomatic"),
            "ratio_to_bare": self.rate("decant") / self.rate("bare"),
            "services": {
                name: {
                    "requests_per_second": self.rate(name),
                    "p50_ms": median(r.p50_ms for r in rounds),
                    "p99_ms": median(r.p99_ms for r in rounds),
                    "rounds": [vars(r) for r in rounds],
                }
                for name, rounds in self.rounds.items()
            },
        }


def require_yardstick() -> None:
    """Nothing comes back; BenchError that names what the idiomatic service lacks."""
    missing = [name for name in ("asyncpg", "greenlet") if find_spec(name) is None]
    if missing:
        raise BenchError(f"The idiomatic service needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def measure_serve(ground: Ground, rounds: int, seconds: int, say: Callable[[str], None]) -> list[Case]:
    """Every case, each service in turn, `rounds` times over."""
    say("serving: loading the flights")
    urls = load_flights(ground)
    with ExitStack() as stack:
        addresses = {name: stack.enter_context(start_service(ground, urls, name)) for name in SERVICES}
        client = stack.enter_context(httpx.Client(timeout=30, trust_env=False))
        cases = list_cases(client, addresses["decant"], urls)
        for case in cases:
            require_same(client, addresses, case.paths)
        folder = ground.flights_csv.parent
        for case in cases:
            measure_case(case, addresses, folder, rounds, seconds, say)
    return cases


def measure_case(
    case: Case, addresses: dict[str, str], folder: Path, rounds: int, seconds: int, say: Callable[[str], None]
) -> None:
    """Nothing comes back; the case has its rounds. The services take turns, so that noise meets all of them."""
    scripts = {name: write_script(folder / f"{case.name}-{name}.lua", case.paths[name]) for name in SERVICES}
    for name in SERVICES:
        run_wrk(addresses[name], scripts[name], WARM_UP_SECONDS)
    for number in range(1, rounds + 1):
        say(f"serving, {case.title}, round {number} of {rounds}")
        for name in SERVICES:
            case.rounds[name].append(run_wrk(addresses[name], scripts[name], seconds))


def load_flights(ground: Ground) -> DatabaseUrls:
    """The logins of a database that holds the flights."""
    urls = ground.create_database(SERVE_DATABASE)
    ground.input_file.write_bytes(ground.flights_csv.read_bytes())
    ground.load(urls, ground.flights)
    ground.checkpoint()
    return urls


@contextmanager
def start_service(ground: Ground, urls: DatabaseUrls, name: str) -> Iterator[str]:
    """The address of a service in a process of its own, which ends with the context."""
    if name == "decant":
        command = [sys.executable, "-m", "decant", "serve", "--host", "127.0.0.1", "--port", "0"]
    else:
        command = [sys.executable, "-m", f"bench.{name}"]
    log = ground.flights_csv.with_name(f"{name}.log")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=service_environment(ground, urls),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield read_address(process, name, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def service_environment(ground: Ground, urls: DatabaseUrls) -> dict[str, str]:
    """Decant's settings for a child, none of the caller's own, and every service in the read login."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DECANT_", "OTEL_"))}
    return own | {
        "DECANT_HOME": str(ground.settings.home),
        "DECANT_DATA": str(ground.settings.data_folder),
        "DECANT_CONTRACTS": str(ground.settings.contracts),
        "DECANT_DATABASE_URL": urls.owner,
        "DECANT_READ_DATABASE_URL": urls.read,
        "DECANT_WRITE_DATABASE_URL": urls.write,
        DATABASE_VARIABLE: urls.read,
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",  # the announcement stays on one line
    }


def read_address(process: subprocess.Popen[str], name: str, log: Path) -> str:
    """Where the service listens, once it does; BenchError where it ended instead."""
    for line in process.stdout or ():
        if line.startswith(ANNOUNCEMENT):
            return line.removeprefix(ANNOUNCEMENT).split()[0]
    raise BenchError(f"The service {name} did not start: {log.read_text(errors='replace')[-2000:]}")


def list_cases(client: httpx.Client, decant: str, urls: DatabaseUrls) -> list[Case]:
    """The four cases, with paths from the records that are there."""
    with psycopg.connect(urls.read) as connection:
        table = "nyc_flights_v1.flights"
        carriers = [
            row[0]
            for row in connection.execute(
                f"SELECT carrier FROM {table} WHERE distance >= %s GROUP BY 1 HAVING count(*) > 1000 ORDER BY 1",
                [DISTANCE],
            )
        ]
        found = connection.execute(f"SELECT flight_id FROM {table} ORDER BY md5(flight_id) LIMIT %s", [KEYS])
        keys = [quote(row[0]) for row in found]
    filters = {
        "decant": [f"{RECORDS}?carrier={c}&distance%5Bgte%5D={DISTANCE}" for c in carriers],
        **both(f"/flights?carrier={c}&distance_gte={DISTANCE}" for c in carriers),
    }
    # The carrier that the design names comes first: the check compares the first path of each list.
    for paths in filters.values():
        paths.sort(key=lambda path: "carrier=UA" not in path)
    cursors, after = walk(client, decant)
    walks = {"decant": [f"{RECORDS}?cursor={c}" for c in cursors], **both(f"/flights?after={a}" for a in after)}
    records = {"decant": [f"{RECORDS}/{key}" for key in keys], **both(f"/flights/{key}" for key in keys)}
    return [
        Case("page", "page of 100", 4, {"decant": [RECORDS], **both(["/flights"])}),
        Case("filtered", "filtered page of 100", 4, filters),
        Case("walk", "page in mid-walk", 4, walks),
        Case("record", "one record", 2.5, records),
    ]


def both(paths: Iterator[str] | list[str] | Any) -> dict[str, list[str]]:
    """The paths of the two yardsticks, which are the same."""
    listed = list(paths)
    return {name: list(listed) for name in SERVICES if name != "decant"}


def walk(client: httpx.Client, decant: str) -> tuple[list[str], list[str]]:
    """Cursors and the keys that they stand at, from a walk through the middle of the dataset."""
    cursors, keys = [], []
    path: str | None = f"{RECORDS}?limit={WALK_STEP}"
    for number in range(1, WALKS * PAGES_BETWEEN + 1):
        if path is None:
            raise BenchError("The walk ended early: are the flights loaded?")
        page = client.get(decant + path).raise_for_status().json()
        path = page["next"]
        if path is not None and number % PAGES_BETWEEN == 0:
            # A cursor is not bound to the limit of its page: the measured pages have the default one.
            cursors.append(path.partition("cursor=")[2])
            keys.append(quote(page["data"][-1]["flight_id"]))
    return cursors, keys
