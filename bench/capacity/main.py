"""What a deployment can carry: `python -m bench capacity [--only constants|simulation|wide] [--datasets 2000] …`.

First the constants of the model (docs/explanation/capacity.md), each measured; then a simulation of many datasets in
several processes, whose heads move, held against the model; then a contract of very many properties. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.capacity import simulated, wide
from bench.capacity.constants import measure_constants
from bench.capacity.model import Constants, background
from bench.capacity.report import show_constants, show_example, show_figures
from bench.capacity.simulated import Simulated, Size
from bench.capacity.simulation import simulate
from bench.capacity.wide import measure_wide
from bench.errors import BenchError
from bench.testbed import Testbed, describe_machine, open_testbed
from ingest.errors import IngestError
from runtime.errors import CatalogError

PARTS = ("constants", "simulation", "wide")
out = Console()


def main(arguments: Sequence[str]) -> int:
    """Prints the figures; 1 where something was wrong, never where something was slow."""
    parser = argparse.ArgumentParser(prog="python -m bench capacity", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part of it; may be given several times")
    parser.add_argument("--datasets", type=int, default=2000, help="of the simulation (default: 2000)")
    parser.add_argument("--processes", type=int, default=4, help="that serve (default: 4)")
    parser.add_argument("--moves", type=float, default=50, help="heads that move in a second (default: 50)")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement (default: 30)")
    parser.add_argument("--keys", type=int, default=1000, help="API keys (default: 1000)")
    parser.add_argument("--loads", type=int, default=200, help="small loads (default: 200)")
    parser.add_argument("--properties", type=int, default=10_000, help="of the wide contract (default: 10000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file")
    options = parser.parse_args(arguments)
    try:
        document = run(options)
    except (BenchError, CatalogError, IngestError) as error:
        out.print(str(error), style="red", highlight=False, markup=False)
        return 1
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Every figure; each part is printed as soon as it is there."""
    parts = options.only or PARTS
    document: dict[str, Any] = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds")}
    constants = None
    with out.status("starting Postgres") as status, open_testbed() as testbed:
        document["machine"] = describe_machine(testbed)
        show_load("before")
        if "constants" in parts:
            constants = run_constants(testbed, options, status.update)
            document["constants"] = constants.as_json()
        if "simulation" in parts:
            size = Size(
                options.datasets, options.processes, options.moves, options.seconds, options.keys, options.loads
            )
            found = simulate(testbed, size, status.update)
            show_simulation(found, constants)
            document["simulation"] = found.as_json()
        if "wide" in parts:
            measured = measure_wide(testbed, options.properties, status.update)
            show_figures(f"{measured.properties:,} properties", wide.describe(measured), out)
            document["wide"] = measured.as_json()
        show_load("afterwards")
    return document


def run_constants(testbed: Testbed, options: argparse.Namespace, report: Callable[[str], None]) -> Constants:
    """The constants, which are printed as well."""
    constants = measure_constants(testbed, options.datasets, options.seconds, options.loads, report)
    show_constants(constants, out)
    show_example(constants, out)
    return constants


def show_simulation(found: Simulated, constants: Constants | None) -> None:
    """Nothing comes back; prints the figures, and what the model says of the same size."""
    size = found.size
    title = f"{size.datasets:,} datasets, {size.processes} processes, {size.keys:,} keys"
    show_figures(title, simulated.describe(found), out)
    if constants is not None:
        said = background(constants, found.moved, size.datasets)
        out.print(f"the model says {said:.1%} of a core for each process, where each move is read alone")


def show_load(when: str) -> None:
    """Nothing comes back; prints how busy the machine is."""
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    out.print(f"load average {when}: {loads} on {len(os.sched_getaffinity(0))} cores", highlight=False)
