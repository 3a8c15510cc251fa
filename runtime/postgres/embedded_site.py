"""The folder of an embedded Postgres: whose it is, who may enter it, its locks, its record and its log."""

from __future__ import annotations

import fcntl
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import CatalogError

SERVER_USER = "nobody"  # what root drops to: Postgres refuses to run as root
# A socket's path may have 107 bytes, and clones lie deep.
SOCKET_PARENT = Path("/tmp")  # noqa: S108 (each folder in it has a random name and mode 0700)
SOCKET_PREFIX = "decant-"
LOG_END_BYTES = 1500


class EmbeddedPostgresError(CatalogError):
    """The embedded Postgres cannot be used."""


@dataclass(frozen=True)
class Site:
    """A folder, and the user and group as whom its server runs: the current ones, unless that is root."""

    folder: Path
    user: int
    group: int
    drops_root: bool

    @property
    def data(self) -> Path:
        """The cluster."""
        return self.folder / "data"

    @property
    def record(self) -> Path:
        """The file that says where the newest server's socket lies."""
        return self.folder / "socket-folder"

    @property
    def log(self) -> Path:
        """What initdb and Postgres wrote."""
        return self.folder / "postgres.log"


def find_site(folder: Path) -> Site:
    """The folder with the user that its server needs."""
    is_root = os.geteuid() == 0
    try:
        user = pwd.getpwnam(SERVER_USER) if is_root else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedPostgresError(
            f"Postgres needs a user with a name ({SERVER_USER} if Decant is started by root), and the"
            f" current user has none. Run Decant as another user, or set DECANT_DATABASE_URL."
        ) from None
    return Site(folder, user.pw_uid, user.pw_gid, drops_root=is_root)


def find_closed_folder(site: Site) -> Path | None:
    """The first folder on the way to the site that the server's user cannot pass, if root drops to one."""
    if not site.drops_root:
        return None
    for folder in reversed([site.folder, *site.folder.parents]):
        if not folder.exists():
            return None
        facts = folder.stat()
        owner_class = 6 if facts.st_uid == site.user else 3 if facts.st_gid == site.group else 0
        if not facts.st_mode >> owner_class & 1:
            return folder
    return None


def make_folder(site: Site) -> None:
    """Makes the folder and the missing ones above it; EmbeddedPostgresError where the server could not go."""
    if (closed := find_closed_folder(site)) is not None:
        raise EmbeddedPostgresError(
            f"The embedded Postgres runs as the user {SERVER_USER}, who cannot enter {closed}."
            " Set DECANT_HOME to a folder that this user can reach, or run Decant as an ordinary user."
        )
    with suppress(OSError):  # the lock cannot be opened then, and its error says more
        for folder in reversed([site.folder, *site.folder.parents]):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700 if folder == site.folder else 0o777)
                if site.drops_root:
                    folder.chmod(0o711 if folder == site.folder else 0o755)  # whatever the umask


def take_lock(site: Site, name: str, kind: int) -> int | None:
    """A file descriptor that holds the lock, or None where somebody else holds it."""
    try:
        lock = os.open(site.folder / name, os.O_RDONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"{error}. Run Decant as the user who made {site.folder}, or set DECANT_HOME to another folder."
        ) from error
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def read_record(site: Site) -> tuple[Path, Path] | None:
    """The newest server's socket folder and binaries; None where the record is not one of ours."""
    with suppress(FileNotFoundError, ValueError):
        socket_folder, binaries = map(Path, site.record.read_text().splitlines())
        if socket_folder.parent == SOCKET_PARENT and socket_folder.name.startswith(SOCKET_PREFIX):
            return socket_folder, binaries
    return None


def read_log_end(site: Site) -> str:
    """The last lines of the log, ready to be put behind a message."""
    with suppress(OSError), site.log.open("rb") as log:
        log.seek(max(0, site.log.stat().st_size - LOG_END_BYTES))
        lines = log.read().decode(errors="replace").splitlines()[-10:]
        return "\n".join([f" The end of {site.log}:", *lines])
    return ""
