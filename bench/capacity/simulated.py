"""The figures of a simulation, and the words for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from bench.visibility import percentile


@dataclass(frozen=True)
class Size:
    """How large a simulation is."""

    datasets: int
    processes: int
    moves: float  # a second
    seconds: float
    keys: int
    loads: int


@dataclass
class Simulated:
    """What was measured. Shares are of a core, milliseconds those of a client, memory is proportional set size."""

    size: Size
    migrate_seconds: float
    migrate_cpu: float
    nothing_seconds: float  # of a migration that has nothing to do
    start_seconds: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    memory_after_mb: list[float] = field(default_factory=list)
    resting: list[float] = field(default_factory=list)
    following: list[float] = field(default_factory=list)
    moved: float = 0.0  # a second
    database_resting: float = 0.0
    database_following: float = 0.0
    seen: list[float] = field(default_factory=list)  # seconds from commit until all processes answer with a move
    status_seconds: float = 0.0
    status_cpu: float = 0.0
    documents: dict[str, tuple[float, int]] = field(default_factory=dict)  # the first answer's ms, and bytes
    later: dict[str, float] = field(default_factory=dict)  # ms of the quickest of the next ones
    live_most: dict[str, float] = field(default_factory=dict)  # ms, the slowest /livez beside each document
    live: list[float] = field(default_factory=list)  # seconds of /livez meanwhile
    reads: list[float] = field(default_factory=list)  # seconds of each reader's page
    loads_per_second: float = 0.0
    load_cpu: float = 0.0
    load_database: float = 0.0
    profile_seconds: float = 0.0  # until a worker has made the profiles of all datasets, which have no records
    profile_cpu: float = 0.0  # of the worker, for each
    worker_idle: float = 0.0
    worker_mb: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """All figures, for a file."""
        return asdict(self)


def describe(found: Simulated) -> dict[str, str]:
    """The figures in words."""

    def shares(values: list[float]) -> str:
        return ", ".join(f"{value:.1%}" for value in values)

    def sizes(values: list[float]) -> str:
        return ", ".join(f"{value:.0f}" for value in values) + " MB"

    def times(values: list[float]) -> str:
        p50, p99 = (percentile(values, share) * 1000 for share in (0.5, 0.99))
        return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, most {max(values) * 1000:.0f} ms ({len(values):,})"

    rows = {
        "migrate": f"{found.migrate_seconds:.1f} s ({found.migrate_cpu:.1f} s CPU)",
        "migrate, nothing to do": f"{found.nothing_seconds:.1f} s",
        "start until every process answers": f"{found.start_seconds:.1f} s",
        "memory of each process": sizes(found.memory_mb),
        "… in the end": sizes(found.memory_after_mb),
        "share of a core at rest": shares(found.resting),
        f"… with {found.moved:.0f} moves a second": shares(found.following),
        "Postgres at rest, with moves": f"{found.database_resting:.1%}, {found.database_following:.1%}",
        "commit until all answer with it": times(found.seen),
        "decant status": f"{found.status_seconds:.1f} s ({found.status_cpu:.1f} s CPU)",
    }
    for name, (first, size) in found.documents.items():
        rows[name] = (
            f"{first:.0f} ms, then {found.later[name]:.0f} ms, {size:,} bytes; /livez {found.live_most[name]:.0f} ms"
        )
    return rows | {
        "/livez meanwhile": times(found.live),
        "pages of readers meanwhile": times(found.reads),
        "small loads, one worker": f"{found.loads_per_second:.1f} a second; each"
        f" {found.load_cpu * 1000:.0f} ms CPU of the worker, {found.load_database * 1000:.0f} ms of Postgres",
        "profiles of all, one worker": f"{found.profile_seconds:.1f} s; each {found.profile_cpu * 1000:.0f} ms CPU",
        "worker": f"{found.worker_idle:.1%} of a core at rest, {found.worker_mb:.0f} MB",
    }
