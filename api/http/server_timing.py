"""How long a request took, in all or phase by phase, for Server-Timing."""

from __future__ import annotations

from time import perf_counter

KEPT = "decant.timings"  # where a request keeps them


class Timings:
    """The moments at which phases ended."""

    __slots__ = ("marks", "started")

    def __init__(self) -> None:
        self.started = perf_counter()
        self.marks: list[tuple[str, float]] = []

    def mark(self, phase: str) -> None:
        """Notes that a phase has just ended."""
        self.marks.append((phase, perf_counter()))

    def header(self) -> bytes:
        """The phases in milliseconds, as Server-Timing has them; where none was noted, all until now."""
        if not self.marks:
            self.mark("total")
        before = self.started
        members = []
        for phase, moment in self.marks:
            members.append(b"%b;dur=%.2f" % (phase.encode(), (moment - before) * 1000))
            before = moment
        return b", ".join(members)
