"""A contract of many properties: checked, migrated, loaded and read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from bench.capacity.catalogue import DECANT, RECORDS
from bench.capacity.constants import OWN_POOLS
from bench.capacity.processes import Finished, memory_mb, own_seconds, run_command, run_well
from bench.services import make_environment, run_decant
from bench.testbed import Testbed
from catalog.contract.load import load_catalog

EACH = 700  # properties of a dataset: Postgres takes at most 1,600 columns, and 8,160 bytes of short values
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: wide
name: Wide
version: 1.0.0
status: active
servers: [{{server: here, type: local, path: "${{DECANT_DATA}}", format: csv}}]
schema:
{datasets}
roles: [{{role: "wide:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}]
"""
DATASET = """\
  - name: {name}
    customProperties: [{{property: input, value: {{server: here, path: {name}.csv, mode: snapshot}}}}]
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
{properties}"""
PROPERTY = "      - {{name: p{number}, logicalType: {type}}}"
TYPES = ("integer", "string", "number", "date")
VALUES = ("7", "some text", "2.5", "2026-01-01")


@dataclass
class Wide:
    """What was measured of a contract of so many properties, in datasets that Postgres takes."""

    properties: int
    datasets: int
    contract_bytes: int
    lint: Finished
    migrate: Finished
    load: Finished  # of every dataset
    start_seconds: float
    memory_mb: float
    first_page: tuple[float, float]  # seconds of a client, and CPU seconds of the process
    next_page: tuple[float, float]
    page_bytes: int
    in_one: Finished  # what `decant contract lint` says of the same properties in one dataset

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return asdict(self)


def measure_wide(testbed: Testbed, properties: int, report: Callable[[str], None]) -> Wide:
    """A contract of so many properties; each dataset also has a key."""
    report(f"wide: {properties} properties")
    folder = testbed.settings.home.parent / "wide"
    settings = testbed.settings.model_copy(
        update={"contracts": folder / "contracts", "data": folder / "data", "home": folder / "home"}
    )
    for each in (folder / "contracts", folder / "data"):
        each.mkdir(parents=True)
    widths = [min(EACH, properties - first) for first in range(0, properties, EACH)]
    file = folder / "contracts" / "wide.odcs.yaml"
    file.write_text(write_contract(widths))
    for index, width in enumerate(widths):
        (folder / "data" / f"wide_{index}.csv").write_text(write_records(width))
    one = folder / "one.odcs.yaml"
    one.write_text(write_contract([properties]))
    own = Testbed(settings, load_catalog(settings), testbed.server, testbed.flights_csv)
    urls = own.create_database("bench_wide", "template0")
    environment = make_environment(own, urls) | {"DECANT_INGEST_DATABASE_URL": urls.ingest}
    lint = run_well([DECANT, "contract", "lint", str(file)], environment)
    migrate = run_well([DECANT, "migrate"], environment)
    load = run_well([DECANT, "ingest", "wide"], environment)
    began = time.perf_counter()
    with (
        run_decant(own, urls, "wide", 1, OWN_POOLS | {"DECANT_CACHE_BYTES": "0"}) as (address, process),
        httpx.Client(base_url=address, timeout=120, trust_env=False) as client,
    ):
        started = time.perf_counter() - began
        pages = []
        for _ in range(2):
            before, began = own_seconds(process), time.perf_counter()
            answer = client.get("/data/wide/v1/wide_0/records").raise_for_status()
            pages.append((time.perf_counter() - began, own_seconds(process) - before))
        memory = memory_mb(process)
    in_one = run_command([DECANT, "contract", "lint", str(one)], environment)
    return Wide(
        properties=properties,
        datasets=len(widths),
        contract_bytes=file.stat().st_size,
        lint=lint,
        migrate=migrate,
        load=load,
        start_seconds=started,
        memory_mb=memory,
        first_page=pages[0],
        next_page=pages[1],
        page_bytes=len(answer.content),
        in_one=in_one,
    )


def write_contract(widths: list[int]) -> str:
    """A contract of datasets with so many properties each, beside their keys."""
    datasets = []
    for index, width in enumerate(widths):
        properties = (PROPERTY.format(number=number, type=TYPES[number % len(TYPES)]) for number in range(width))
        datasets.append(DATASET.format(name=f"wide_{index}", properties="\n".join(properties)))
    return CONTRACT.format(datasets="\n".join(datasets))


def write_records(width: int) -> str:
    """The CSV of some records of a dataset."""
    header = ",".join(["id", *(f"p{number}" for number in range(width))])
    values = ",".join(VALUES[number % len(VALUES)] for number in range(width))
    return "\n".join([header, *(f"{index},{values}" for index in range(RECORDS))]) + "\n"


def describe(found: Wide) -> dict[str, str]:
    """The figures in words."""

    def took(finished: Finished) -> str:
        return f"{finished.seconds:.1f} s ({finished.cpu_seconds:.1f} s CPU), {finished.peak_mb:.0f} MB at most"

    def page(times: tuple[float, float]) -> str:
        return f"{times[0] * 1000:.0f} ms ({times[1] * 1000:.0f} ms CPU)"

    return {
        "datasets": f"{found.datasets} of up to {EACH:,} properties; {found.contract_bytes:,} bytes of contract",
        "lint": took(found.lint),
        "migrate": took(found.migrate),
        f"load of {RECORDS} records each": took(found.load),
        "start": f"{found.start_seconds:.1f} s, {found.memory_mb:.0f} MB",
        "page, first": page(found.first_page),
        "page, next": f"{page(found.next_page)}, {found.page_bytes:,} bytes",
        "all in one dataset": f"exit status {found.in_one.code}: {' '.join(found.in_one.output.split())[:600]}",
    }
