"""The memory that a service takes for exports of a big dataset."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.errors import BenchError

EXPORT = "/data/nyc-flights/v1/flights/export?at=1&format="
FORMS = ("csv", "ndjson", "arrow", "parquet")
PEAK_MB = 300  # the promise: no more, however many records there are
FORGET_PEAK = "5"  # what the kernel takes for it
SECONDS = 3600.0


@dataclass(frozen=True)
class BigExport:
    """One whole export, and the most memory that the service held meanwhile."""

    form: str
    bytes: int
    seconds: float
    idle_mb: float
    peak_mb: float

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return vars(self) | {"target": PEAK_MB}


def measure_exports(address: str, process: int, report_progress: Callable[[str], None]) -> list[BigExport]:
    """Every format in turn."""
    idle = read_memory(process, "VmRSS")
    found = []
    for form in FORMS:
        report_progress(f"exporting as {form}")
        Path(f"/proc/{process}/clear_refs").write_text(FORGET_PEAK)
        started = time.perf_counter()
        size = read_export(address, form)
        seconds = time.perf_counter() - started
        found.append(BigExport(form, size, seconds, idle, read_memory(process, "VmHWM")))
    return found


def read_export(address: str, form: str) -> int:
    """How many bytes an export has; BenchError where it is cut off."""
    size = 0
    try:
        wishes = {"Accept-Encoding": "identity"}
        with httpx.stream(
            "GET", f"{address}{EXPORT}{form}", headers=wishes, timeout=SECONDS, trust_env=False
        ) as answer:
            answer.raise_for_status()
            for piece in answer.iter_raw():
                size += len(piece)
    except httpx.HTTPError as error:
        raise BenchError(f"The export as {form} failed: {error}") from error
    return size


def read_memory(process: int, name: str) -> float:
    """What a process holds (VmRSS), or held at most (VmHWM), in millions of bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchError(f"Nothing is known of the memory of process {process}.")
