"""Files and folders that only the user of Decant can read: they hold records."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

# Files are for their owner alone. Folders may be entered, not listed, by others: where Decant runs as root, the
# embedded Postgres runs as another user, and must reach its own folder below the home.
UMASK = 0o066
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def keep_private() -> None:
    """Makes what this process and its children write from now on unreadable to others."""
    os.umask(UMASK)


def make_private_folder(folder: Path) -> None:
    """Makes a folder, where it is missing, that nobody else may enter; one that is open to others is closed."""
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    # One that belongs to somebody else is theirs to close.
    with suppress(OSError):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & OTHERS:
            folder.chmod(mode & ~OTHERS)
