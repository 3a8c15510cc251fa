"""What the services are asked for: each case with its paths, its targets, and the rounds that were counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from bench.bare import COLUMNS
from bench.errors import BenchError
from bench.testbed import PRODUCT
from bench.wrk import Round
from runtime.postgres.database import DatabaseUrls

RECORDS = f"/data/{PRODUCT}/v1/flights/records"
SELECT = "select=" + ",".join(name.strip() for name in COLUMNS.split(","))
ONE = {"Accept": "application/vnd.pgrst.object+json"}
TABLE = "nyc_flights_v1.flights"
DISTANCE = 1000  # miles
KEYS = 1000  # single records that are asked for
WALKS = 10  # places in the middle of a walk
WALK_STEP = 1000  # records between them, times the pages read from one to the next
PAGES_BETWEEN = 10


@dataclass
class Case:
    """One kind of request."""

    name: str
    title: str
    targets: dict[str, float]  # at least so many times this service's requests per second
    paths: dict[str, list[str]]
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    cached: bool = False  # whether Decant may answer from its cache
    rounds: dict[str, list[Round]] = field(default_factory=dict)

    def rate(self, service: str) -> float:
        """The median of a service's requests per second."""
        return median(r.requests_per_second for r in self.rounds[service])

    def ratio(self, service: str) -> float:
        """How many times as many requests Decant answers: ratio of medians."""
        return self.rate("decant") / self.rate(service)

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return {
            "targets": {name: target for name, target in self.targets.items() if name in self.rounds},
            "cached": self.cached,
            **{f"ratio_to_{name}": self.ratio(name) for name in self.rounds if name != "decant"},
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


def list_cases(client: httpx.Client, decant: str, urls: DatabaseUrls) -> list[Case]:
    """The cases, with paths from the records that are there."""
    page = {"decant": [RECORDS], **ours(["/flights"]), "postgrest": [f"/flights?{SELECT}&order=flight_id&limit=100"]}
    tag = client.get(decant + RECORDS).raise_for_status().headers["ETag"]
    known = {"decant": {"If-None-Match": tag}}
    if client.get(decant + RECORDS, headers=known["decant"]).status_code != httpx.codes.NOT_MODIFIED:
        raise BenchError("Decant does not answer 304 to the ETag that it gave.")
    as_uncached = {"idiomatic": 4.0, "bare": 0.9, "postgrest": 1.15}
    return [
        Case("record", "one record", {"idiomatic": 2.5, "bare": 0.85, "postgrest": 1.2}, *record_paths(urls)),
        Case("page", "page of 100", as_uncached, page),
        Case("filtered", "filtered page of 100", as_uncached, filtered_paths(urls)),
        Case("walk", "page in mid-walk", {"idiomatic": 4.0}, walk_paths(client, decant)),
        Case("cached", "the same page again", {"bare": 3.0, "postgrest": 5.0}, page, cached=True),
        Case("not_modified", "304 by If-None-Match", {"bare": 4.0, "postgrest": 7.0}, page, known, cached=True),
    ]


def record_paths(urls: DatabaseUrls) -> tuple[dict[str, list[str]], dict[str, dict[str, str]]]:
    """Paths of single records, and the headers that they need."""
    with psycopg.connect(urls.read) as connection:
        found = connection.execute(f"SELECT flight_id FROM {TABLE} ORDER BY md5(flight_id) LIMIT %s", [KEYS])
        keys = [quote(row[0]) for row in found]
    paths = {
        "decant": [f"{RECORDS}/{key}" for key in keys],
        **ours(f"/flights/{key}" for key in keys),
        "postgrest": [f"/flights?{SELECT}&flight_id=eq.{key}" for key in keys],
    }
    return paths, {"postgrest": ONE}


def filtered_paths(urls: DatabaseUrls) -> dict[str, list[str]]:
    """Paths of pages with two filters, one for each carrier that flies so far more than 1000 times."""
    with psycopg.connect(urls.read) as connection:
        found = connection.execute(
            f"SELECT carrier FROM {TABLE} WHERE distance >= %s GROUP BY 1 HAVING count(*) > 1000 ORDER BY 1",
            [DISTANCE],
        )
        # The check compares the first path of each list: the one with the most records comes first.
        carriers = sorted((row[0] for row in found), key=lambda carrier: carrier != "UA")
    order = "order=flight_id&limit=100"
    return {
        "decant": [f"{RECORDS}?carrier={c}&distance%5Bgte%5D={DISTANCE}" for c in carriers],
        **ours(f"/flights?carrier={c}&distance_gte={DISTANCE}" for c in carriers),
        "postgrest": [f"/flights?{SELECT}&carrier=eq.{c}&distance=gte.{DISTANCE}&{order}" for c in carriers],
    }


def walk_paths(client: httpx.Client, decant: str) -> dict[str, list[str]]:
    """Paths of pages in the middle of a walk."""
    cursors, keys = walk(client, decant)
    return {
        "decant": [f"{RECORDS}?cursor={c}" for c in cursors],
        **ours(f"/flights?after={key}" for key in keys),
        "postgrest": [f"/flights?{SELECT}&flight_id=gt.{key}&order=flight_id&limit=100" for key in keys],
    }


def ours(paths: Iterable[str]) -> dict[str, list[str]]:
    """The paths of the two yardsticks of ours, which are the same."""
    listed = list(paths)
    return {"idiomatic": listed, "bare": listed}


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
