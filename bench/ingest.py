"""Ingestion, timed: four kinds of load, each against bare COPY of the same CSV into a table with a primary key."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.errors import BenchError
from bench.testbed import Testbed
from bench.variants import Variants, make_variants
from ingest.loading.load_report import LoadReport
from runtime.postgres.database import DatabaseUrls

COPY_BLOCK_BYTES = 1 << 18  # what Decant's own COPY sends at a time
YARDSTICK_DATABASE = "bench_copy"
LOAD_DATABASE = "bench_load"
# The columns of the CSV, in its order, and the natural key of a flight.
YARDSTICK_TABLE = """CREATE TABLE flights (
  year integer, month integer, day integer, dep_time integer, sched_dep_time integer, dep_delay integer,
  arr_time integer, sched_arr_time integer, arr_delay integer, carrier text, flight integer, tailnum text,
  origin text, dest text, air_time integer, distance integer, hour integer, minute integer, time_hour timestamptz,
  PRIMARY KEY (year, month, day, carrier, flight, origin, sched_dep_time)
)"""
YARDSTICK_COPY = "COPY flights FROM STDIN (FORMAT csv, HEADER, NULL 'NA')"


@dataclass
class Case:
    """One kind of load: what it must come to, and its counted runs."""

    name: str
    title: str
    target: float  # at least so many times as fast as the yardstick
    file: Path
    status: str
    changed: int  # records inserted or updated
    seconds: list[float] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)


@dataclass
class IngestResult:
    """Every counted second."""

    records: int
    yardstick_seconds: list[float]
    cases: list[Case]

    def ratio(self, case: Case) -> float:
        """How many times as fast as the yardstick: ratio of medians."""
        return median(self.yardstick_seconds) / median(case.seconds)

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return {
            "records": self.records,
            "yardstick": {"seconds": self.yardstick_seconds, "median": median(self.yardstick_seconds)},
            "cases": {
                case.name: {
                    "seconds": case.seconds,
                    "median": median(case.seconds),
                    "ratio": self.ratio(case),
                    "target": case.target,
                    "step_seconds": case.steps,
                    "step_medians": median_steps(case),
                }
                for case in self.cases
            },
        }


def measure_ingest(testbed: Testbed, runs: int, report_progress: Callable[[str], None]) -> IngestResult:
    """The yardstick and every case, `runs` times over, one after the other in each round."""
    variants = make_variants(testbed.flights_csv)
    cases = list_cases(variants, records := count_records(variants.original))
    result = IngestResult(records, [], cases)
    testbed.create_database(YARDSTICK_DATABASE, "template0")
    for number in range(1, runs + 1):
        report_progress(f"ingestion, round {number} of {runs}")
        result.yardstick_seconds.append(time_copy(testbed, variants.original, records))
        # Made from the template each time: a first load meets empty tables and an empty ledger.
        urls = testbed.create_database(LOAD_DATABASE)
        for case in cases:
            run_case(testbed, urls, case)
    return result


def list_cases(variants: Variants, records: int) -> list[Case]:
    """The cases in the order in which they follow on each other in one database."""
    return [
        Case("first", "first load", 0.5, variants.original, "published", records),
        Case("same_bytes", "the same bytes again", 10, variants.original, "unchanged", 0),
        Case("nothing_changed", "another file, nothing changed", 0.7, variants.reordered, "unchanged", 0),
        Case("one_percent", "a new file, 1 % changed", 0.6, variants.changed, "published", variants.changed_count),
    ]


def run_case(testbed: Testbed, urls: DatabaseUrls, case: Case) -> None:
    """Nothing comes back; the case has one more counted run. BenchError where the load did something else."""
    shutil.copyfile(case.file, testbed.input_file)
    testbed.checkpoint()
    started = time.perf_counter()
    report = testbed.load(urls, testbed.flights)
    case.seconds.append(time.perf_counter() - started)
    case.steps.append(report.step_seconds)
    require_outcome(case, report)


def require_outcome(case: Case, report: LoadReport) -> None:
    """Nothing comes back; BenchError unless the load came to what its case says."""
    outcome = report.outcome
    changed = outcome.inserted + outcome.updated if outcome else -1
    if outcome is None or report.status != case.status or changed != case.changed or outcome.rejected:
        raise BenchError(f"{case.title}: expected {case.status} with {case.changed} records changed, got {outcome}.")


def time_copy(testbed: Testbed, file: Path, records: int) -> float:
    """Seconds of bare COPY into a new table, its commit included."""
    with psycopg.connect(testbed.server.url(database=YARDSTICK_DATABASE)) as connection:
        connection.execute("DROP TABLE IF EXISTS flights")
        connection.execute(YARDSTICK_TABLE)
        connection.commit()
        testbed.checkpoint()
        started = time.perf_counter()
        with file.open("rb") as source, connection.cursor() as cursor:
            with cursor.copy(YARDSTICK_COPY) as copy:
                while block := source.read(COPY_BLOCK_BYTES):
                    copy.write(block)
            copied = cursor.rowcount
        connection.commit()
        seconds = time.perf_counter() - started
    if copied != records:
        raise BenchError(f"COPY took {copied} records of {records}.")
    return seconds


def median_steps(case: Case) -> dict[str, float]:
    """The median of each step's seconds."""
    return {name: round(median(steps.get(name, 0.0) for steps in case.steps), 4) for name in case.steps[0]}


def count_records(file: Path) -> int:
    """The lines of a file but its header."""
    return file.read_bytes().count(b"\n") - 1
