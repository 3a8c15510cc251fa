"""Child processes that end with their parent: Linux signals them when it exits, for whatever reason."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from runtime.postgres.embedded_site import Site

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
STOP_STEPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))  # seconds after each

# What a child runs before a server takes its place, in an interpreter of its own: `preexec_fn` is unsafe once
# there are threads. The server's user may be unable to reach any interpreter, hence it changes in here; and it
# changes first, because the kernel forgets the death signal when it does.
LAUNCHER = """
import ctypes, os, signal, sys
parent, user, group, last = map(int, sys.argv[1:5])
if user != os.geteuid():
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
PR_SET_PDEATHSIG = 1
if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(last)) != 0:
    sys.exit("The kernel refused prctl(PR_SET_PDEATHSIG).")
if os.getppid() != parent:
    sys.exit("The process that starts the server is gone.")
for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(ignored_by_python, signal.SIG_DFL)
os.execv(sys.argv[5], sys.argv[5:])
"""


def start_with(user: int, group: int, last: signal.Signals) -> list[str]:
    """What comes before a server's command line: it runs as this user, and gets this signal when its parent ends.

    For the kernel the parent is a thread: the one that starts the process has to live as long.
    """
    return [sys.executable, "-I", "-S", "-c", LAUNCHER, *map(str, (os.getpid(), user, group, int(last)))]


def end_with_parent(last: signal.Signals) -> None:
    """This process gets the signal when the one that started it ends; at once where that has ended already.

    Linux only: elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    parent = multiprocessing.parent_process()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(int(last)))
    if parent is not None and os.getppid() != parent.pid:
        os.kill(os.getpid(), last)


def launch_process(site: Site, lock: int, program: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A child in a session of its own, which Ctrl-C does not reach; it holds `lock` as long as it lives."""
    launcher = start_with(site.user, site.group, signal.SIGINT)
    with open(site.log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        return subprocess.Popen(
            [*launcher, str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            # Nothing of ours: PGDATA, PGOPTIONS and the like would speak to Postgres, too.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            pass_fds=[lock],
            start_new_session=True,
        )


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Stops the child, ever more firmly, and waits for it. Nothing happens where it has ended already."""
    for step, seconds in STOP_STEPS:
        if process.poll() is not None:
            return
        process.send_signal(step)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
