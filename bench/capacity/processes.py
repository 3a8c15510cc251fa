"""What processes use: CPU seconds of themselves and of their children, and memory. Linux only."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.errors import BenchError
from runtime.settings.settings import PROJECT_ROOT

TICKS = os.sysconf("SC_CLK_TCK")
PARENT, OWN, ENDED = 1, slice(11, 13), slice(13, 15)  # places in /proc/…/stat behind the name
WORKER_MARK = b"spawn_main"  # what the command of a service's process has, of several


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    output: str
    code: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


def run_command(command: list[str], environment: Mapping[str, str]) -> Finished:
    """What a command wrote, took and held at most."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    with process.stdout as stream:
        output = stream.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Finished(
        output, process.returncode, time.perf_counter() - began, cpu_of(used), used.ru_maxrss * 1024 / 1e6
    )


def run_well(command: list[str], environment: Mapping[str, str]) -> Finished:
    """The same; BenchError where the command failed."""
    finished = run_command(command, environment)
    if finished.code != 0:
        raise BenchError(f"{' '.join(command[-3:])} failed: {finished.output.strip()[-2000:]}")
    return finished


def cpu_of(used: resource.struct_rusage) -> float:
    """User and system seconds."""
    return used.ru_utime + used.ru_stime


def own_seconds(process: int) -> float:
    """What the living threads of a process have used so far, to the nanosecond."""
    files = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(text.split()[0]) for text in map(read_quietly, files) if text) / 1e9


def tree_seconds(process: int) -> float:
    """What a process has used, with its children, those that have ended included."""
    children: dict[int, list[int]] = {}
    facts: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if text := read_quietly(folder / "stat"):
            number = int(folder.name)
            facts[number] = text.rpartition(")")[2].split()
            children.setdefault(int(facts[number][PARENT]), []).append(number)
    total, waiting = 0, [process]
    while waiting:
        number = waiting.pop()
        if number in facts:
            total += sum(map(int, facts[number][OWN])) + sum(map(int, facts[number][ENDED]))
            waiting += children.get(number, [])
    return total / TICKS


def read_quietly(file: Path) -> str:
    """The text of a file of /proc; empty where its process has ended meanwhile."""
    try:
        return file.read_text()
    except OSError:
        return ""


def find_postgres(url: str) -> int:
    """The first process of the server, which is the parent of every backend."""
    with psycopg.connect(url) as connection:
        backend = connection.info.backend_pid
        return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[PARENT])


def find_workers(first: int, processes: int) -> list[int]:
    """The processes of a service that serve; `first` is the one that was started."""
    if processes == 1:
        return [first]
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    found = [int(child) for child in children if WORKER_MARK in Path(f"/proc/{child}/cmdline").read_bytes()]
    if len(found) != processes:
        raise BenchError(f"{len(found)} processes serve where {processes} should.")
    return found


def memory_mb(process: int) -> float:
    """The proportional set size of a process: what it shares counts in part."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchError(f"Nothing is known of the memory of process {process}.")


@dataclass
class Used:
    """What was used in a block, by each process and by Postgres."""

    seconds: float = 0.0
    processes: list[float] = field(default_factory=list)
    database: float = 0.0

    def shares(self) -> list[float]:
        """The part of a core that each process used."""
        return [used / self.seconds for used in self.processes]

    def database_share(self) -> float:
        """The part of a core that Postgres used."""
        return self.database / self.seconds


@contextmanager
def count_used(processes: list[int], postgres: int) -> Iterator[Used]:
    """What is used while the block lasts; the figures are there afterwards."""
    used = Used()
    before = [own_seconds(process) for process in processes]
    before_database, began = tree_seconds(postgres), time.perf_counter()
    yield used
    used.seconds = time.perf_counter() - began
    used.database = tree_seconds(postgres) - before_database
    used.processes = [own_seconds(process) - start for process, start in zip(processes, before, strict=True)]
