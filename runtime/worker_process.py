"""One process beside this one, for work that would hold up every other thread: it ends with this process."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

from runtime.postgres.child_processes import end_with_parent

NICENESS = 10  # of the process, below that of the service


def start_worker_process() -> ProcessPoolExecutor:
    """The process, which begins with its first work. Nothing of this one is inherited: its connections, its locks."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_process)


def begin_process() -> None:
    """Ends with the service, whose signals at the terminal are not for this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    os.nice(NICENESS)
