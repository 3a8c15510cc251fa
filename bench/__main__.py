"""Measures ingestion and serving: `python -m bench`, from the checkout.

`python -m bench portal` measures the pages of the portal instead, `python -m bench partitions` partitions,
`python -m bench spark` what a cluster adds to judging,
`python -m bench capacity` what a deployment can carry.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from bench.big import measure_big
from bench.capacity.main import main as measure_capacity
from bench.errors import BenchError
from bench.ingest import measure_ingest
from bench.limits import measure_limits
from bench.older import measure_older
from bench.partitions import main as measure_partitions
from bench.portal import main as measure_portal
from bench.report import show_big, show_compared, show_ingest, show_machine, show_older, show_serve
from bench.serve import Effort, load_flights, measure_serve, require_yardstick
from bench.services import NO_POSTGREST, find_postgrest
from bench.spark import main as measure_spark
from bench.testbed import Testbed, describe_machine, open_testbed
from bench.wrk import require_wrk
from ingest.errors import IngestError
from runtime.errors import CatalogError

RUNS = 5
ROUNDS = 3
ROUND_SECONDS = 6
QUICK_SECONDS = 2
BIG_RECORDS = 10_000_000

out = Console()
err = Console(stderr=True)


def main() -> None:
    """Nothing comes back; exit status 1 where something was wrong, never where something was slow.

    Of the portal's pages it is 1 where a limit is broken, too.
    """
    # For the embedded Postgres to be stopped in order.
    signal.signal(signal.SIGTERM, end_in_order)
    if sys.argv[1:2] == ["portal"]:
        sys.exit(measure_portal(sys.argv[2:]))
    if sys.argv[1:2] == ["spark"]:
        sys.exit(measure_spark(sys.argv[2:]))
    if sys.argv[1:2] == ["capacity"]:
        sys.exit(measure_capacity(sys.argv[2:]))
    if sys.argv[1:2] == ["partitions"]:
        sys.exit(measure_partitions(sys.argv[2:]))
    options = parse_arguments()
    try:
        if options.only != "ingest" and not options.big:
            # Before anything is loaded, not minutes later.
            require_wrk()
            require_yardstick()
            if find_postgrest() is None:
                warn(NO_POSTGREST)
        run(options)
    except (BenchError, CatalogError, IngestError) as error:
        err.print(str(error), style="red", highlight=False, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def parse_arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=positive, default=RUNS, help=f"counted runs of each load (default: {RUNS})")
    parser.add_argument("--quick", action="store_true", help="one run, one short round: to see that it works")
    parser.add_argument("--only", choices=("ingest", "serve"), help="one half of it")
    parser.add_argument(
        "--big",
        type=positive,
        nargs="?",
        const=BIG_RECORDS,
        metavar="RECORDS",
        help=f"instead: a walk over so many records (default: {BIG_RECORDS:,})",
    )
    parser.add_argument("--processes", type=positive, default=1, help="processes of each service (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file")
    return parser.parse_args()


def positive(text: str) -> int:
    """An integer from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def run(options: argparse.Namespace) -> None:
    """Nothing comes back; measures, prints and writes."""
    runs, rounds, seconds = (1, 1, QUICK_SECONDS) if options.quick else (options.runs, ROUNDS, ROUND_SECONDS)
    document: dict[str, Any] = {"measured_at": datetime.now(UTC).isoformat(timespec="seconds")}
    with out.status("starting Postgres") as status, open_testbed() as testbed:
        document["machine"] = describe_machine(testbed)
        show_machine(document["machine"], out)
        if options.big:
            walk = measure_big(testbed, options.big, status.update)
            show_big(walk, out)
            document["big"] = walk.as_json()
        elif options.only != "serve":
            loads = measure_ingest(testbed, runs, status.update)
            show_ingest(loads, out)
            document["ingest"] = loads.as_json()
        if options.only != "ingest" and not options.big:
            document |= run_serve(testbed, Effort(rounds, seconds, options.processes), status.update)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def run_serve(testbed: Testbed, effort: Effort, report_progress: Callable[[str], None]) -> dict[str, Any]:
    """Every figure of serving, which is printed as well."""
    report_progress("serving: loading the flights")
    urls = load_flights(testbed)
    cases = measure_serve(testbed, urls, effort, report_progress)
    show_serve(cases, effort.processes, out)
    compared = measure_limits(testbed, urls, effort, report_progress, warn)
    show_compared(compared, out)
    states = measure_older(testbed, effort, report_progress)
    show_older(states, out)
    return {
        "processes": effort.processes,
        "compared": {one.name: one.as_json() for one in compared},
        "older": {state.name: state.as_json() for state in states},
        "serve": {case.name: case.as_json() for case in cases},
    }


def warn(text: str) -> None:
    """Nothing comes back; says what is left out."""
    err.print(text, style="yellow", highlight=False, markup=False)


def end_in_order(_signal: int, _frame: FrameType | None) -> None:
    """Nothing comes back; turns SIGTERM into an exit that closes what is open."""
    raise SystemExit(143)


if __name__ == "__main__":
    main()
