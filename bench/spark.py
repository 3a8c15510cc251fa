"""What a cluster adds to judging a batch: `python -m bench spark [--records 2000000] [--runs 3]`.

The same parsed records are judged by this process and by a Spark cluster of two workers on this machine, in turns.
Reported are medians: seconds that pass, CPU seconds of this process and of the tasks, records for each of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb
from rich.console import Console
from rich.table import Table

from catalog.contract.load import load_catalog
from ingest.cleaning.engine import clean_batch, find_native
from ingest.cleaning.engines import spark
from ingest.cleaning.engines.slices import Judged, SliceTask
from ingest.cleaning.plan import compile_cleaning, needed_columns
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.unpacking import UnpackLimit
from ingest.readers import parse_batch
from runtime.settings.settings import Settings, load_settings
from tests.support.engines import TYPES
from tests.support.spark_cluster import run_cluster

RECORDS = 2_000_000
RUNS = 3
# One record of a hundred is bad, one repeats another's key.
ROWS = """
COPY (SELECT i - (i % 97 = 0)::INT AS id, i % 300 AS small, if(i % 100 = 0, 7, 0.5) AS share, i / 7 AS price,
  'name ' || i % 1000 AS name, uuid() AS code, i % 2 = 0 AS good, DATE '2000-01-01' + (i % 9000)::INT AS born,
  TIMESTAMP '2026-01-01' + to_seconds(i) AS "at", TIME '00:00:00' AS clock, NULL AS facts, '["a","b"]' AS tags
  FROM range(1, {records} + 1) AS t(i)) TO '{path}' (HEADER)
"""
out = Console()


class Meter:
    """Sums the CPU time that the tasks of a cluster report."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.run_tasks = spark.run_tasks

    def __call__(self, address: str, task: SliceTask, slices: int) -> list[Judged]:
        """Runs the tasks, and notes what they took."""
        judged = self.run_tasks(address, task, slices)
        self.seconds = sum(each.seconds for each in judged)
        return judged


def main(arguments: list[str]) -> int:
    """Prints the figures; 1 where something was wrong, never where something was slow."""
    parser = argparse.ArgumentParser(prog="python -m bench spark", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="decant-bench-") as name:
        figures = measure(Path(name), options.records, options.runs)
    if options.json:
        out.print_json(json.dumps(figures))
        return 0
    title = f"{options.records:,} records, judged and written for COPY"
    table = Table("engine", "seconds", "CPU seconds", "records per CPU second", title=title)
    for engine, (wall, cpu) in figures.items():
        table.add_row(engine, f"{wall:.1f}", f"{cpu:.1f}", f"{options.records / cpu:,.0f}")
    out.print(table)
    return 0


def measure(folder: Path, records: int, runs: int) -> dict[str, tuple[float, float]]:
    """By engine: seconds that pass from parsed records to judged ones, and seconds of CPU that judging takes."""
    (folder / "contracts").mkdir()
    (folder / "contracts" / "kinds.odcs.yaml").write_text(TYPES)
    duckdb.connect().execute(ROWS.format(records=records, path=folder / "things.csv"))
    times: dict[str, list[tuple[float, float]]] = {"local": [], "spark": []}
    with run_cluster(folder) as cluster:
        for _ in range(runs):
            for name, address in (("local", "local"), ("spark", cluster.address)):
                chosen = {"home": folder / "home", "contracts": folder / "contracts", "data": folder}
                settings = load_settings(**chosen, engine=address, engine_from_bytes=0)
                times[name].append(judge_once(settings, folder / "things.csv"))
    return {name: (median(wall for wall, _ in each), median(cpu for _, cpu in each)) for name, each in times.items()}


def judge_once(settings: Settings, file: Path) -> tuple[float, float]:
    """(seconds, seconds of CPU) of judging a file, which is parsed before."""
    dataset = load_catalog(settings).find("kinds.things")[0]
    assert dataset.input is not None
    assert dataset.input.file_format is not None
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        folder = Path(name)
        batch = LandedBatch("", (LandedPart(file.name, "", file, file.stat().st_size),))
        limit = UnpackLimit.of(settings)
        parsed = parse_batch(
            batch,
            dataset.input.file_format,
            needed_columns(dataset),
            folder,
            limit,
            lambda amount: None,
            sliced=spark.is_spread(settings, batch),
        )
        plan = compile_cleaning(dataset, parsed.header, find_native(dataset))
        meter = Meter()
        spark.run_tasks = meter
        try:
            started, spent = time.perf_counter(), time.process_time()
            with clean_batch(plan, parsed, folder, settings, (1, 1)):
                wall, cpu = time.perf_counter() - started, time.process_time() - spent
        finally:
            spark.run_tasks = meter.run_tasks
    return wall, meter.seconds + cpu
