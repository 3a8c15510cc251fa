"""What a cluster adds to a batch, and that it changes nothing: `python -m bench spark [--records 2000000]`.

The same batch, in one file or in many (`--files 40`), is parsed and judged by this process and by a Spark cluster of
two workers on this machine, in turns. Reported are medians: seconds that pass, CPU seconds of this process and of the
tasks, records for each of them. The records with their lines, the reasons and the counts must be the same; one of a
hundred is bad, some repeat a key, and some lines are malformed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import duckdb
from rich.console import Console
from rich.table import Table

from catalog.contract.load import load_catalog
from catalog.storage.folder_store import FolderStore
from ingest.cleaning.engine import CleanBatch, clean_batch, find_native
from ingest.cleaning.engines import spark
from ingest.cleaning.engines.slices import Judged, SliceTask
from ingest.cleaning.parse_landed import parse_landed
from ingest.cleaning.plan import CleaningPlan, compile_cleaning
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.landing_zone import digest_file, digest_parts, key_of
from ingest.readers.record_writer import ParsedBatch
from runtime.settings.settings import Settings, load_settings
from tests.support.engines import TYPES
from tests.support.spark_cluster import run_cluster

RECORDS = 2_000_000
RUNS = 3
HEADER = "id,small,share,price,name,code,good,born,at,clock,facts,tags"
# The same in each run; a tenth of them has quotes, and is parsed with more care.
ROWS = """
COPY (SELECT CASE WHEN i % 1009 = 0 THEN i || ',too few' ELSE concat_ws(',',
  i - (i % 97 = 0)::INT, i % 300, if(i % 100 = 0, 7, 0.5), i // 7, 'name ' || i % 1000, md5(i::VARCHAR)::UUID,
  i % 2 = 0, DATE '2000-01-01' + (i % 9000)::INT, TIMESTAMP '2026-01-01' + to_seconds(i), TIME '00:00:00', '',
  if(i // 100000 % 10 = 0, '"[""a"",""b""]"', '')) END AS "{header}"
  FROM range({first}, {last}) AS t(i)) TO '{path}' (HEADER, QUOTE '', ESCAPE '', DELIMITER '\x01')
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


class Outcome(NamedTuple):
    """What a batch came to."""

    wall: float
    cpu: float
    found: tuple[object, ...]  # counts, and checksums of what there is


def main(arguments: list[str]) -> int:
    """Prints the figures; 1 where something was wrong, never where something was slow."""
    parser = argparse.ArgumentParser(prog="python -m bench spark", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--files", type=int, default=1, help="tasks parse as well, where there are many")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="decant-bench-") as name:
        outcomes = measure(Path(name), options.records, options.runs, options.files)
    found = {outcome.found for each in outcomes.values() for outcome in each}
    figures = {
        engine: (median(each.wall for each in runs), median(each.cpu for each in runs))
        for engine, runs in outcomes.items()
    }
    if options.json:
        out.print_json(json.dumps(figures | {"found": sorted(map(list, found))}))
        return 0 if len(found) == 1 else 1
    title = f"{options.records:,} records, parsed, judged and written for COPY"
    table = Table("engine", "seconds", "CPU seconds", "records per CPU second", title=title)
    for engine, (wall, cpu) in figures.items():
        table.add_row(engine, f"{wall:.1f}", f"{cpu:.1f}", f"{options.records / cpu:,.0f}")
    out.print(table)
    for each in found:
        out.print(f"raw, malformed, rejected, accepted, duplicates, and checksums: {each}")
    out.print("the same everywhere" if len(found) == 1 else "NOT the same everywhere")
    return 0 if len(found) == 1 else 1


def measure(folder: Path, records: int, runs: int, files: int) -> dict[str, list[Outcome]]:
    """By engine, what each run came to."""
    (folder / "contracts").mkdir()
    (folder / "contracts" / "kinds.odcs.yaml").write_text(TYPES)
    batch = write_batch(folder, records, files)
    outcomes: dict[str, list[Outcome]] = {"local": [], "spark": []}
    with run_cluster(folder) as cluster:
        for _ in range(runs):
            for name, address in (("local", "local"), ("spark", cluster.address)):
                chosen = {"home": folder / "home", "contracts": folder / "contracts", "data": folder}
                settings = load_settings(**chosen, engine=address, engine_from_bytes=0)
                outcomes[name].append(run_once(settings, batch))
    return outcomes


def write_batch(folder: Path, records: int, files: int) -> LandedBatch:
    """A batch of so many records in so many files, in the landing zone."""
    store, parts = FolderStore(folder / "home"), []
    bounds = [records * number // files + 1 for number in range(files + 1)]
    for number, (first, last) in enumerate(pairwise(bounds)):
        path = folder / f"things-{number:05}.csv"
        duckdb.connect().execute(ROWS.format(header=HEADER, first=first, last=last, path=path))
        digest, size = digest_file(path), path.stat().st_size
        parts.append(LandedPart(path.name, digest, store.put(path, key_of(digest)).path, size))
    return LandedBatch(digest_parts(parts), tuple(parts))


def run_once(settings: Settings, batch: LandedBatch) -> Outcome:
    """What a batch comes to, from raw bytes to files for COPY."""
    dataset = load_catalog(settings).find("kinds.things")[0]
    meter = Meter()
    spark.run_tasks = meter
    with tempfile.TemporaryDirectory(dir=settings.home) as name:
        try:
            started, spent = time.perf_counter(), time.process_time()
            parsed = parse_landed(dataset, batch, settings, Path(name), lambda amount: None)
            plan = compile_cleaning(dataset, parsed.header, find_native(dataset))
            with clean_batch(plan, parsed, Path(name), settings, (1, 1)) as clean:
                wall, cpu = time.perf_counter() - started, time.process_time() - spent
                found = summarize(parsed, clean, plan)
        finally:
            spark.run_tasks = meter.run_tasks
    return Outcome(wall, meter.seconds + cpu, found)


def summarize(parsed: ParsedBatch, clean: CleanBatch, plan: CleaningPlan) -> tuple[object, ...]:
    """Counts; checksums of what was judged, by record and as sums, and of the files that COPY takes."""
    hashed = f"hash(line, {', '.join(plan.values)}, reasons)"
    judged = clean.tables.engine.execute(f"SELECT bit_xor({hashed}), sum({hashed} % 1000003) FROM judged").fetchone()
    counts = (parsed.raw, parsed.malformed_count, clean.rejected, clean.accepted, clean.duplicates)
    return (*counts, *(judged or ()), digest_file(parsed.malformed), digest_file(clean.accepted_file))
