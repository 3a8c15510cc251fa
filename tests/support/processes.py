"""Processes and what they have started, from /proc."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def read_parents() -> dict[int, int]:
    """The parent of each process, of those that have ended and that nobody waited for, too."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            # Behind the name, which may hold anything: the state, then the parent.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


def find_children(pid: int) -> set[int]:
    """The processes that a process has started."""
    return {child for child, parent in read_parents().items() if parent == pid}


def find_descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that these have."""
    parents, found = read_parents(), {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}
