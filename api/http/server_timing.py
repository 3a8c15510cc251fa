"""How long a request took, in all or phase by phase, for Server-Timing."""

from __future__ import annotations

from time import perf_counter

KEPT = "decant.timings"  # where a request keeps them


class Timings:
    """The moments at which phases ended."""

    __slots__ = ("durations", "started")

    def __init__(self) -> None:
        self.started = perf_counter()
        self.durations: list[tuple[str, float]] = []

    def record(self, phase: str) -> None:
        """Notes that a phase has just ended."""
        self.durations.append((phase, perf_counter()))

    def header(self) -> bytes:
        """The phases in milliseconds, as Server-Timing has them; where none was noted, all until now."""
        if not self.durations:
            self.record("total")
        before = self.started
        members = []
        for phase, timestamp in self.durations:
            members.append(b"%b;dur=%.2f" % (phase.encode(), (timestamp - before) * 1000))
            before = timestamp
        return b", ".join(members)
