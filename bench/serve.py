"""Serving, timed: Decant and its yardsticks on one table, asked for the same in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from bench.bare import COLUMNS
from bench.errors import BenchError
from bench.ground import PRODUCT, Ground
from bench.same import require_same
from bench.services import POSTGREST_INSTALL, find_postgrest, start_service
from bench.wrk import Round, run_wrk, write_script
from catalog.database import DatabaseUrls

SERVE_DATABASE = "bench_serve"
DECANTS = ("decant", "cached")  # without its cache, and with it
YARDSTICKS = ("idiomatic", "bare", "postgrest")
WARM_UP_SECONDS = 1
RECORDS = f"/data/{PRODUCT}/v1/flights/records"
DISTANCE = 1000  # miles
KEYS = 1000  # single records that are asked for
WALKS = 10  # places in the middle of a walk
WALK_STEP = 1000  # records between them, times the pages read from one to the next
PAGES_BETWEEN = 10
ONE_OBJECT = {"Accept": "application/vnd.pgrst.object+json"}


@dataclass
class Case:
    """One kind of request: the paths that each service is asked for, and every round that was counted."""

    name: str
    title: str
    targets: dict[str, float]  # yardstick -> at least so many times its requests per second
    paths: dict[str, list[str]]
    decant: str = "decant"  # which of the Decants
    headers: dict[str, dict[str, str]] = field(default_factory=dict)  # service -> what it is sent
    rounds: dict[str, list[Round]] = field(default_factory=dict)

    @property
    def services(self) -> list[str]:
        """The services that were asked, Decant first."""
        return [self.decant, *(name for name in YARDSTICKS if name in self.paths)]

    def rate(self, service: str) -> float:
        """The median of a service's requests per second."""
        return median(r.requests_per_second for r in self.rounds[service])

    def ratio(self, yardstick: str) -> float | None:
        """Decant's rate in those of a yardstick; None where that was left out."""
        return self.rate(self.decant) / self.rate(yardstick) if yardstick in self.rounds else None

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return {
            "targets": self.targets,
            "ratios": {name: self.ratio(name) for name in YARDSTICKS},
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
    names = [*DECANTS, *YARDSTICKS]
    if find_postgrest() is None:
        print(POSTGREST_INSTALL)
        names.remove("postgrest")
    with ExitStack() as stack:
        addresses = {name: stack.enter_context(start_service(ground, urls, name)) for name in names}
        client = stack.enter_context(httpx.Client(timeout=30, trust_env=False))
        cases = list_cases(client, addresses["decant"], urls)
        for case in cases:
            case.paths = {name: paths for name, paths in case.paths.items() if name in addresses}
            require_same(client, {name: addresses[name] for name in case.paths}, case.paths, case.headers)
        cases += list_kept_cases(client, addresses["cached"], cases[0])
        folder = ground.flights_csv.parent
        for case in cases:
            measure_case(case, addresses, folder, rounds, seconds, say)
    return cases


def measure_case(
    case: Case, addresses: dict[str, str], folder: Path, rounds: int, seconds: int, say: Callable[[str], None]
) -> None:
    """Nothing comes back; the case has its rounds. The services take turns, so that noise meets all of them."""
    scripts = {
        name: write_script(folder / f"{case.name}-{name}.lua", case.paths[name], case.headers.get(name, {}))
        for name in case.services
    }
    case.rounds = {name: [] for name in case.services}
    for name in case.services:
        run_wrk(addresses[name], scripts[name], WARM_UP_SECONDS)
    for number in range(1, rounds + 1):
        say(f"serving, {case.title}, round {number} of {rounds}")
        for name in case.services:
            case.rounds[name].append(run_wrk(addresses[name], scripts[name], seconds))


def load_flights(ground: Ground) -> DatabaseUrls:
    """The logins of a database that holds the flights."""
    urls = ground.create_database(SERVE_DATABASE)
    ground.input_file.write_bytes(ground.flights_csv.read_bytes())
    ground.load(urls, ground.flights)
    ground.checkpoint()
    return urls


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
    columns = ",".join(name.strip() for name in COLUMNS.split(","))
    page = f"/flights?select={columns}&order=flight_id&limit=100"
    filters = {
        "decant": [f"{RECORDS}?carrier={c}&distance%5Bgte%5D={DISTANCE}" for c in carriers],
        **both(f"/flights?carrier={c}&distance_gte={DISTANCE}" for c in carriers),
        "postgrest": [f"{page}&carrier=eq.{c}&distance=gte.{DISTANCE}" for c in carriers],
    }
    # The carrier that the design names comes first: the check compares the first path of each list.
    for paths in filters.values():
        paths.sort(key=lambda path: "carrier=UA" not in path and "carrier=eq.UA" not in path)
    cursors, after = walk(client, decant)
    walks = {
        "decant": [f"{RECORDS}?cursor={c}" for c in cursors],
        **both(f"/flights?after={a}" for a in after),
        "postgrest": [f"{page}&flight_id=gt.{a}" for a in after],
    }
    records = {
        "decant": [f"{RECORDS}/{key}" for key in keys],
        **both(f"/flights/{key}" for key in keys),
        "postgrest": [f"/flights?select={columns}&flight_id=eq.{key}" for key in keys],
    }
    first = {"decant": [RECORDS], **both(["/flights"]), "postgrest": [page]}
    wanted = {"idiomatic": 4.0, "bare": 0.9, "postgrest": 1.15}
    one = {"idiomatic": 2.5, "bare": 0.85, "postgrest": 1.2}
    return [
        Case("page", "page of 100", wanted, first),
        Case("filtered", "filtered page of 100", wanted, filters),
        Case("walk", "page in mid-walk", wanted, walks),
        Case("record", "one record", one, records, headers={"postgrest": ONE_OBJECT}),
    ]


def list_kept_cases(client: httpx.Client, cached: str, page: Case) -> list[Case]:
    """The page that Decant has kept, and that its caller has kept, against the page that the yardsticks read."""
    tag = client.get(cached + RECORDS).raise_for_status().headers["etag"]
    paths = {name: listed for name, listed in page.paths.items() if name != "decant"} | {"cached": [RECORDS]}
    sent = {"cached": {"If-None-Match": tag}}
    return [
        Case("cached", "the same page again", {"bare": 3, "postgrest": 5}, paths, "cached"),
        Case("unchanged", "304 by If-None-Match", {"bare": 4, "postgrest": 7}, paths, "cached", sent),
    ]


def both(paths: Iterator[str] | list[str] | Any) -> dict[str, list[str]]:
    """The paths of the two yardsticks, which are the same."""
    listed = list(paths)
    return {name: list(listed) for name in ("idiomatic", "bare")}


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
