"""Older revisions, timed: the same page at the head and one revision before it, with history five times current."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg

from bench.cases import RECORDS, TABLE
from bench.errors import BenchError
from bench.serve import WARM_UP_SECONDS, Effort
from bench.services import start_decant
from bench.testbed import Testbed
from bench.variants import CHANGED_COLUMN, change_records, write_generation
from bench.wrk import Round, run_wrk, write_script
from runtime.postgres.database import DatabaseUrls

OLDER_DATABASE = "bench_older"
GENERATIONS = 5  # how many times as many records as current the history holds
SPREAD = 1.3  # the promise: the slowest of the pages takes at most so many times as long as the fastest


@dataclass
class State:
    """A page at several revisions, after one kind of load."""

    name: str
    title: str
    records: int
    history: int
    paths: dict[str, str]
    rounds: dict[str, list[Round]] = field(default_factory=dict)

    def rate(self, place: str) -> float:
        """The median of requests per second at one of the revisions."""
        return median(one.requests_per_second for one in self.rounds[place])

    @property
    def spread(self) -> float:
        """How many times as long the slowest takes as the fastest."""
        rates = [self.rate(place) for place in self.paths]
        return max(rates) / min(rates)

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return {
            "records": self.records,
            "history": self.history,
            "paths": self.paths,
            "requests_per_second": {place: self.rate(place) for place in self.paths},
            "rounds": {place: [vars(one) for one in rounds] for place, rounds in self.rounds.items()},
            "spread": self.spread,
            "target": SPREAD,
        }


def measure_older(testbed: Testbed, effort: Effort, report_progress: Callable[[str], None]) -> list[State]:
    """The page after a load that changed everything, and after one that changed one record in a hundred."""
    urls = testbed.create_database(OLDER_DATABASE)
    publish(testbed, urls, testbed.flights_csv)
    file = testbed.flights_csv.with_name("generation.csv")
    for number in range(1, GENERATIONS + 1):
        report_progress(f"serving, older revisions: load {number} of {GENERATIONS + 1}")
        write_generation(testbed.flights_csv, file, number)
        publish(testbed, urls, file)
    states = [measure_state(testbed, urls, "all", "after a load of 100 %", effort, report_progress)]
    report_progress(f"serving, older revisions: load {GENERATIONS + 1} of {GENERATIONS + 1}")
    header, *records = file.read_bytes().splitlines()
    change_records(records, header.split(b",").index(CHANGED_COLUMN))
    file.write_bytes(b"\n".join([header, *records, b""]))
    publish(testbed, urls, file)
    states.append(measure_state(testbed, urls, "one_percent", "after a load of 1 %", effort, report_progress))
    return states


def publish(testbed: Testbed, urls: DatabaseUrls, file: Path) -> None:
    """Nothing comes back; the file's records are the head's."""
    testbed.input_file.write_bytes(file.read_bytes())
    if testbed.load(urls, testbed.flights).status != "published":
        raise BenchError(f"{file.name} was to be published: nothing of it was new.")


def measure_state(
    testbed: Testbed,
    urls: DatabaseUrls,
    name: str,
    title: str,
    effort: Effort,
    report_progress: Callable[[str], None],
) -> State:
    """The page at each revision, in turns."""
    testbed.settle(urls)
    with start_decant(testbed, urls, "older", effort.processes, {"DECANT_CACHE_BYTES": "0"}) as address:
        state = find_state(urls, name, title, address)
        scripts = {
            place: write_script(testbed.flights_csv.with_name(f"older-{index}.lua"), [path], {})
            for index, (place, path) in enumerate(state.paths.items())
        }
        state.rounds = {place: [] for place in scripts}
        for script in scripts.values():
            run_wrk(address, script, WARM_UP_SECONDS)
        for number in range(1, effort.rounds + 1):
            report_progress(f"serving, older revisions {title}, round {number} of {effort.rounds}")
            for place, script in scripts.items():
                state.rounds[place].append(run_wrk(address, script, effort.seconds))
    return state


def find_state(urls: DatabaseUrls, name: str, title: str, address: str) -> State:
    """The state with its paths; BenchError unless each path answers what it should."""
    with psycopg.connect(urls.read) as connection:
        row = connection.execute(
            f"SELECT (SELECT count(*) FROM {TABLE}), (SELECT count(*) FROM {TABLE}_history)"
        ).fetchone()
    assert row is not None
    if row[1] < GENERATIONS * row[0]:
        raise BenchError(
            f"History holds {row[1]:,} records beside {row[0]:,}: {GENERATIONS} times as many were meant."
        )
    with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
        head = read_page(client, RECORDS)
        paths = {
            "head": RECORDS,
            "at=head": f"{RECORDS}?at={head['revision']}",
            "at=head-1": f"{RECORDS}?at={head['revision'] - 1}",
        }
        same, older = (read_page(client, paths[place]) for place in ("at=head", "at=head-1"))
    if same["data"] != head["data"] or older["data"] == head["data"]:
        raise BenchError("A revision answers with the records of another one.")
    return State(name, title, row[0], row[1], paths)


def read_page(client: httpx.Client, path: str) -> dict[str, Any]:
    """The body of a page."""
    body: dict[str, Any] = client.get(path).raise_for_status().json()
    return body
