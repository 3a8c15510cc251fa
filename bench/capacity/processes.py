"""What processes use: CPU seconds of themselves and of their children, and memory. Linux only."""

from __future__ import annotations

import os
import subprocess
import tempfile
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
CPU_CLOCK = 2  # in the number of a clock, which on Linux has the process in it
LOOK_SECONDS = 0.01
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
    with tempfile.TemporaryFile() as written:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written
        )
        peak, ended = 0.0, 0
        while not ended:
            # Looked for again and again: what the kernel says in the end counts this process's memory, before exec.
            peak = max(peak, peak_mb(process.pid))
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            time.sleep(LOOK_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        written.seek(0)
        output = written.read().decode(errors="replace")
    return Finished(output, process.returncode, seconds, used.ru_utime + used.ru_stime, peak)


def peak_mb(process: int) -> float:
    """The most memory that a process has held so far; 0 where it has ended."""
    for line in read_quietly(Path(f"/proc/{process}/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def run_well(command: list[str], environment: Mapping[str, str]) -> Finished:
    """The same; BenchError where the command failed."""
    finished = run_command(command, environment)
    if finished.code != 0:
        raise BenchError(f"{' '.join(command[-3:])} failed: {finished.output.strip()[-2000:]}")
    return finished


def own_seconds(process: int) -> float:
    """What a process has used so far, with its threads that have ended, to the nanosecond."""
    return time.clock_gettime(~process << 3 | CPU_CLOCK)


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
