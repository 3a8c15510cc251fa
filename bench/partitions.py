"""What partitions change: `python -m bench partitions [--records 10000000] [--runs 3] [--partitions 8]`.

The same records are loaded into a dataset in one piece and into one in partitions, in turns: a first load, an update
of 1 % of the records, VACUUM of the current table (all of it, and the longest of its parts), pages by key (the
statement alone, and over HTTP), and the deletion of history. Each figure is a median; the ratio is that of medians.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import duckdb
import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from catalog.storage.dataset_tables import build_tables
from ingest.retention.prune import delete_history
from runtime.postgres.database import ROLES, DatabaseUrls, create_roles, make_engine
from runtime.postgres.embedded_postgres import EmbeddedPostgres, run_embedded
from tests.support.lab import Lab

RECORDS = 10_000_000
QUICK_RECORDS = 2_000_000
RUNS = 3
UPDATED = 100  # one record of so many
PAGES = 300
PAGE_RECORDS = 100
KINDS = ("plain", "spread")
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: bench
name: Bench
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
schema:
"""
DATASET = """
  - name: NAME
    customProperties:
      - {property: input, value: {server: here, path: NAME.csv, mode: upsert}}
      - {property: partitions, value: NUMBER}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: station, logicalType: string, customProperties: [{property: indexed, value: true}]}
      - {name: value, logicalType: number}
      - {name: at, logicalType: timestamp}
      - {name: note, logicalType: string}
"""
ROLES_OF_CONTRACT = """
roles: [{role: "bench:read", access: read, customProperties: [{property: anonymous, value: true}]}]
"""
FIGURES = {
    "load": "first load, s",
    "update": "update of 1 %, s",
    "vacuum": "VACUUM of current, s",
    "longest": "of it the longest part, s",
    "prune": "deletion of history, s",
    "statement": f"page of {PAGE_RECORDS} by key, statement, ms",
    "page": f"page of {PAGE_RECORDS} by key, HTTP, ms",
}
Figures = dict[str, dict[str, list[float]]]  # kind -> figure -> each time
out = Console()


def main(arguments: list[str]) -> int:
    """Prints the figures; 1 where something was wrong, never where something was slow."""
    parser = argparse.ArgumentParser(prog="python -m bench partitions", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, help=f"of each dataset (default: {RECORDS:,})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RECORDS:,} records, one run")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file")
    options = parser.parse_args(arguments)
    records, runs = (QUICK_RECORDS, 1) if options.quick else (options.records, options.runs)
    found: Figures = {kind: {figure: [] for figure in FIGURES} for kind in KINDS}
    try:
        measure(records, runs, options.partitions, found)
    except BenchError as error:
        out.print(str(error), style="red", highlight=False, markup=False)
        return 1
    show(found, records, options.partitions)
    if options.json:
        options.json.write_text(json.dumps({"records": records, "figures": found}, indent=2) + "\n")
    return 0


def measure(records: int, runs: int, partitions: int, found: Figures) -> None:
    """Nothing comes back; the figures are in `found`."""
    with open_server() as (folder, server), out.status("starting") as status:
        for run in range(runs):
            lab = make_lab(folder / f"run{run}", server, f"partitions_{run}", partitions)
            # Who comes first changes from run to run.
            kinds = KINDS if run % 2 == 0 else KINDS[::-1]
            for step in (load, update, vacuum, turn_pages, prune):
                status.update(f"run {run + 1} of {runs}: {step.__name__}")
                step(lab, kinds, records, found)
            lab.close()


@contextmanager
def open_server() -> Iterator[tuple[Path, EmbeddedPostgres]]:
    """A folder and a Postgres, which go in the end."""
    with tempfile.TemporaryDirectory(prefix="decant-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with run_embedded(folder / "postgres", share=False) as server:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                create_roles(connection)
            yield folder, server


def make_lab(folder: Path, server: EmbeddedPostgres, name: str, partitions: int) -> Lab:
    """A new product of the two datasets."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    urls = DatabaseUrls(server.url(database=name), *(server.url(user=role, database=name) for role in ROLES))
    parts = (
        DATASET.replace("NAME", kind).replace("NUMBER", "null" if kind == "plain" else str(partitions))
        for kind in KINDS
    )
    lab = Lab.build(folder, urls, CONTRACT + "".join(parts) + ROLES_OF_CONTRACT)
    lab.migrate()
    return lab


def write_records(lab: Lab, kinds: tuple[str, ...], records: int, value: int, each: int = 1) -> None:
    """Nothing comes back; every dataset's file holds one record of `each`, in no order of their keys."""
    first = lab.settings.data_folder / f"{kinds[0]}.csv"
    with duckdb.connect() as engine:
        engine.execute(
            f"COPY (SELECT n * 7919 % {records} AS id, 'station ' || n % 997 AS station,"
            f" n % 1000 + {value} / 4 AS value,"
            " strftime(TIMESTAMP '2026-01-01' + to_seconds(n), '%Y-%m-%dT%H:%M:%SZ') AS at,"
            f" md5(n::text) AS note FROM range(0, {records}, {each}) AS r(n))"
            f" TO '{first}' (FORMAT csv, HEADER)"
        )
    for kind in kinds[1:]:
        (lab.settings.data_folder / f"{kind}.csv").write_bytes(first.read_bytes())


def load(lab: Lab, kinds: tuple[str, ...], records: int, found: Figures) -> None:
    """Nothing comes back; the first load of each."""
    write_records(lab, kinds, records, 0)
    for kind in kinds:
        found[kind]["load"].append(time_load(lab, kind, records))


def update(lab: Lab, kinds: tuple[str, ...], records: int, found: Figures) -> None:
    """Nothing comes back; one record of a hundred has another value."""
    write_records(lab, kinds, records, 1, UPDATED)
    for kind in kinds:
        found[kind]["update"].append(time_load(lab, kind, records // UPDATED))


def time_load(lab: Lab, kind: str, records: int) -> float:
    """The seconds of a load; BenchError where it did not publish so many records."""
    report = lab.ingest(f"bench.{kind}")
    brought = report.outcome.inserted + report.outcome.updated if report.outcome else 0
    if report.status != "published" or brought != records:
        raise BenchError(
            f"{report.dataset}: {report.status}, {brought:,} of {records:,} records. {report.error or ''}"
        )
    return report.seconds


def vacuum(lab: Lab, kinds: tuple[str, ...], _records: int, found: Figures) -> None:
    """Nothing comes back; each part of the current tables is vacuumed."""
    with psycopg.connect(lab.urls.owner, autocommit=True) as connection:
        for kind in kinds:
            connection.execute("CHECKPOINT")
            parts = connection.execute(
                "SELECT relid::regclass::text FROM pg_partition_tree(%s) WHERE isleaf", [f"bench_v1.{kind}"]
            ).fetchall()
            taken = []
            for (part,) in parts or [(f"bench_v1.{kind}",)]:
                started = time.perf_counter()
                connection.execute(f"VACUUM {part}".encode())
                taken.append(time.perf_counter() - started)
            found[kind]["vacuum"].append(sum(taken))
            found[kind]["longest"].append(max(taken))
            connection.execute(f"VACUUM (ANALYZE) bench_v1.{kind}".encode())
            connection.execute(f"VACUUM (ANALYZE) bench_v1.{kind}_history".encode())


def turn_pages(lab: Lab, kinds: tuple[str, ...], records: int, found: Figures) -> None:
    """Nothing comes back; pages by key, in turns, by a prepared statement and over HTTP."""
    step = records // PAGES
    with psycopg.connect(lab.urls.read, autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        for page in range(PAGES):
            for kind in kinds:
                statement = f"SELECT * FROM bench_v1.{kind} WHERE id > %s ORDER BY id LIMIT {PAGE_RECORDS + 1}"
                started = time.perf_counter()
                connection.execute(statement.encode(), [page * step], prepare=True).fetchall()
                if page > 1:  # the first ones prepare it
                    found[kind]["statement"].append((time.perf_counter() - started) * 1000)
    with lab.serve() as client:
        following = {kind: f"/data/bench/v1/{kind}/records?limit={PAGE_RECORDS}" for kind in kinds}
        for page in range(PAGES):
            for kind in kinds:
                started = time.perf_counter()
                following[kind] = read_next(client, following[kind])
                if page > 1:
                    found[kind]["page"].append((time.perf_counter() - started) * 1000)


def read_next(client: httpx.Client, url: str) -> str:
    """The address of the next page."""
    following: str = client.get(url).raise_for_status().json()["next"]
    return following


def prune(lab: Lab, kinds: tuple[str, ...], _records: int, found: Figures) -> None:
    """Nothing comes back; history goes, which the update made."""
    tables = build_tables(lab.catalog.products.values())
    engine = make_engine(lab.urls.ingest)
    for kind in kinds:
        started = time.perf_counter()
        delete_history(engine, tables.of(lab.dataset(f"bench.{kind}")), 2)
        found[kind]["prune"].append(time.perf_counter() - started)
    engine.dispose()


def show(found: Figures, records: int, partitions: int) -> None:
    """Nothing comes back; prints medians and their ratios."""
    table = Table(title=f"{records:,} records", title_justify="left")
    for name in ("", "in one piece", f"{partitions} partitions", "ratio"):
        table.add_column(name, justify="right" if name else "left")
    for figure, words in FIGURES.items():
        plain, spread = (median(found[kind][figure]) for kind in KINDS)
        table.add_row(words, f"{plain:.3f}", f"{spread:.3f}", f"{spread / plain:.2f}")
    out.print(table)
