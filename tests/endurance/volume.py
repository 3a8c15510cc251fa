"""Millions of generated records through one load: how much memory it takes at its peak, and that all are counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.lab import Lab

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: volume
version: 1.0.0
status: active
servers: [{server: here, type: local, path: "${DECANT_DATA}", format: csv}]
schema:
  - name: events
    customProperties:
      - {property: input, value: {server: here, path: events.csv, mode: upsert, nullValues: ["", NA]}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: place, logicalType: string, required: true, logicalTypeOptions: {pattern: "^[A-Z]{3}$"}}
      - {name: seen_at, logicalType: timestamp, required: true}
      - {name: day, logicalType: date, transformLogic: "seen_at[:10]::date"}
      - {name: amount, logicalType: number, logicalTypeOptions: {minimum: 0}}
      - {name: note, logicalType: string}
"""
BAD_EVERY = 1000
CHILD = """
import json, resource, sys
from pathlib import Path
from catalog.contract.load import load_catalog
from runtime.postgres.database import make_engine
from runtime.settings.settings import load_settings
from catalog.storage.dataset_tables import build_tables
from ingest.loading.loader import Loader
home, contracts, data, url = sys.argv[1:]
settings = load_settings(home=Path(home), contracts=Path(contracts), data=Path(data))
catalog = load_catalog(settings)
tables = build_tables(catalog.products.values())
report = Loader(settings, catalog, tables, make_engine(url)).run(catalog.datasets()[0])
outcome = report.outcome
print(json.dumps({
    "status": report.status, "error": report.error, "seconds": round(report.seconds, 1), "steps": report.step_seconds,
    "raw": outcome.raw, "accepted": outcome.accepted, "rejected": outcome.rejected, "duplicates": outcome.duplicates,
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
"""


def write_events(file: Path, records: int, *, generation: int = 0) -> None:
    """A file of events; one in a thousand is bad, one in a hundred differs between generations."""
    with file.open("w") as out:
        out.write("id,place,seen_at,amount,note\n")
        for number in range(records):
            amount = -1 if number % BAD_EVERY == 0 else (number + (generation if number % 100 == 1 else 0)) / 4
            out.write(
                f"{number},{'ABC' if number % 2 else 'XYZ'},2026-01-{number % 28 + 1:02d}T{number % 24:02d}:00:00Z,"
                f"{amount},note {number % 977}\n"
            )


def load_events(lab: Lab) -> dict[str, Any]:
    """One load in a process of its own: its counts, its seconds, the most memory that it held."""
    settings = lab.settings
    arguments = [settings.home, settings.contracts, settings.data_folder, lab.urls.ingest]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def run_volume(make: Callable[[str], Lab], sizes: list[int], say: Callable[[str], None]) -> list[int]:
    """The peak of memory in bytes at each size, the larger of a first load and of one that changes 1 %."""
    peaks = []
    for records in sizes:
        lab = make(CONTRACT)
        found = []
        for generation in range(2):
            write_events(lab.settings.data_folder / "events.csv", records, generation=generation)
            facts = load_events(lab)
            say(f"{records:,} records: {facts}")
            rejected = -(-records // BAD_EVERY)
            assert facts["status"] == "published", facts
            assert (facts["raw"], facts["rejected"], facts["duplicates"]) == (records, rejected, 0)
            assert facts["accepted"] == records - rejected
            ((count,),) = lab.rows("SELECT count(*) FROM volume_v1.events")
            assert count == records - rejected
            found.append(int(facts["peak_bytes"]))
        (lab.settings.data_folder / "events.csv").unlink()
        peaks.append(max(found))
    return peaks
