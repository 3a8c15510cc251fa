"""Processes beside this one, for work that would hold up every other thread: they end with this process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from runtime.postgres.child_processes import end_with_parent

NICENESS = 10  # of the processes, below that of the service


def start_worker_process(processes: int = 1, warm_up: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """So many processes, each of which begins with the first work that finds no other idle.

    Nothing of this one is inherited: its connections, its locks. A process takes work when `warm_up` is done.
    """
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), begin_process, (warm_up,))


def begin_process(warm_up: Callable[[], object] | None) -> None:
    """Ends with the service, whose signals at the terminal are not for this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    os.nice(NICENESS)
    if warm_up is not None:
        warm_up()
