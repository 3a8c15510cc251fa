"""Where the tests' PostgreSQL keeps its databases: in memory, if there is room."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from runtime.postgres.embedded_postgres import SERVER_LOCK

PREFIX = "decant-tests-"
DISK = Path("/tmp")
MEMORY = Path("/dev/shm")  # a file system in memory, where Linux has one
ROOM_BYTES = 8 << 30  # several times what the servers of a run need
ABANDONED_SECONDS = 600  # a folder without a server for so long is not one that is just being made


def make_server_folder() -> Path:
    """A new folder for a server: open to the unprivileged user that runs it, which pytest's own is not."""
    # To copy a database takes a third of the CPU time that it takes on a disk.
    place = MEMORY if is_roomy(MEMORY) else DISK
    if place == MEMORY:
        remove_abandoned(MEMORY)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    folder.chmod(0o755)
    return folder


def is_roomy(place: Path) -> bool:
    """Whether servers can lie in a file system in memory, beside all else that the machine does."""
    try:
        facts = os.statvfs(place)
        available = re.search(r"^MemAvailable: +([0-9]+) kB$", Path("/proc/meminfo").read_text(), re.M)
    except OSError:
        return False
    # As root, the server's programs are copied to its folder and run there.
    usable = os.access(place, os.W_OK | os.X_OK) and not facts.f_flag & os.ST_NOEXEC
    free = min(facts.f_bavail * facts.f_frsize, int(available[1]) * 1024 if available else 0)
    return usable and free >= ROOM_BYTES


def remove_abandoned(place: Path) -> None:
    """Removes the folders of runs that were killed: here they take memory as long as the machine runs."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock_file = folder / "postgres" / SERVER_LOCK
            # Whatever lives on the folder holds the lock.
            if time.time() - lock_file.stat().st_mtime > ABANDONED_SECONDS and is_free(lock_file):
                shutil.rmtree(folder, ignore_errors=True)


def is_free(lock_file: Path) -> bool:
    """Whether nobody holds a lock."""
    with lock_file.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
