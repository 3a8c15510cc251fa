"""PgBouncer, nginx and MariaDB for tests: each on 127.0.0.1 and in its own folder, ended by its process id."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psycopg
import pytest

from runtime.postgres.child_processes import start_with
from runtime.postgres.database import ROLES, DatabaseUrls
from runtime.postgres.embedded_postgres import OWNER, EmbeddedPostgres
from runtime.postgres.embedded_site import SERVER_USER
from scripts.debian_tools import Tool, ToolMissingError, find_tool

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLLING_SECONDS = 0.02
MARIADB_USER = "decant"
MARIADB_PASSWORD = "p@ss word"


def get_tool(program: str) -> Tool:
    """A program; without it the test is skipped, or fails where everything has to run."""
    try:
        return find_tool(program)
    except ToolMissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(f"{program}: {error}")


@contextmanager
def make_folder() -> Iterator[Path]:
    """A new folder that belongs to the user who runs the servers."""
    folder = Path(tempfile.mkdtemp(prefix="decant-tool-", dir="/tmp"))
    try:
        give(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give(path: Path) -> Path:
    """Gives a file or folder to the user who runs the servers."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(SERVER_USER)
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


def as_server_user() -> dict[str, object]:
    """How a process is started as that user: they refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(SERVER_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def run_tool(
    tool: Tool, arguments: list[str], folder: Path, port: int, *, last: signal.Signals = signal.SIGKILL
) -> Iterator[subprocess.Popen[bytes]]:
    """A running program that listens on a port; its words are in `log` in the folder.

    `last` is the signal that it gets when this process is killed: what it has written is nobody's then.
    """
    log_path = folder / "log"
    user = pwd.getpwnam(SERVER_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

    def start() -> subprocess.Popen[bytes]:
        with log_path.open("ab") as log:
            return subprocess.Popen(
                [*start_with(user.pw_uid, user.pw_gid, last), str(tool.program), *arguments],
                cwd=folder,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} | tool.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    # The program ends with the thread that started it, and so when pytest is killed: this thread stays.
    with ThreadPoolExecutor(max_workers=1) as keeper:
        process = keeper.submit(start).result()
        try:
            wait_for_port(process, port, log_path)
            yield process
        finally:
            stop(process)


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns when somebody listens on the port."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(POLLING_SECONDS)
    raise AssertionError(f"{process.args!r} does not listen:\n{log.read_text(errors='replace')[-3000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and waits for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


# --- PgBouncer


@dataclass(frozen=True)
class Bouncer:
    """A running PgBouncer."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, user: str = OWNER, database: str = OWNER) -> str:
        """A libpq URI through it."""
        return f"postgresql://{quote(user, safe='')}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def through(self, url: str) -> str:
        """The URI of the same user and database, through it."""
        parts = urlsplit(url)
        return self.url(unquote(parts.username or ""), unquote(parts.path[1:]))

    def urls(self, database: str) -> DatabaseUrls:
        """The four logins of a database, all through it."""
        return DatabaseUrls(self.url(database=database), *(self.url(role, database) for role in ROLES))


@contextmanager
def run_pgbouncer(
    server: EmbeddedPostgres,
    *,
    pool_mode: str = "transaction",
    pool_size: int = 4,
    settings: str = "",
    port: int | None = None,
) -> Iterator[Bouncer]:
    """A PgBouncer in front of the tests' server, for each of its databases and logins."""
    tool, port = get_tool("pgbouncer"), port or free_port()
    with make_folder() as folder:
        users = folder / "users.txt"
        users.write_text("".join(f'"{user}" ""\n' for user in (OWNER, *ROLES)))
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={server.socket_folder} port=5432\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
            f"pool_mode = {pool_mode}\ndefault_pool_size = {pool_size}\nmax_client_conn = 200\n{settings}\n"
        )
        with run_tool(tool, [str(config)], folder, port) as process:
            yield Bouncer(port, process)


@pytest.fixture(scope="session")
def pgbouncer(server: EmbeddedPostgres) -> Iterator[Bouncer]:
    """A PgBouncer in transaction mode with four server connections for each login and database."""
    with run_pgbouncer(server) as bouncer:
        yield bouncer


def free_database(bouncer: Bouncer, server: EmbeddedPostgres, database: str) -> None:
    """Ends PgBouncer's connections to a database, so that it can be dropped."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])


# --- nginx


@dataclass(frozen=True)
class Nginx:
    """A running nginx."""

    port: int
    folder: Path

    def errors(self) -> str:
        """What it complains of."""
        return (self.folder / "error.log").read_text(errors="replace")


@contextmanager
def run_nginx(write_server: Callable[[int, Path], str], port: int | None = None) -> Iterator[Nginx]:
    """An nginx with what `write_server(port, folder)` gives as the inside of its `http` block."""
    tool, port = get_tool("nginx"), port or free_port()
    with make_folder() as folder:
        for name in ("temp", "cache"):
            (folder / name).mkdir()
            give(folder / name)
        places = "".join(
            f"{kind}_temp_path {folder}/temp/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log notice;\n"
            f"events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{places}"
            f"{write_server(port, folder)}\n}}\n"
        )
        arguments = ["-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
        # Killed at once, it would leave its worker behind.
        with run_tool(tool, arguments, folder, port, last=signal.SIGTERM):
            yield Nginx(port, folder)


# --- MariaDB


@dataclass(frozen=True)
class MariaDB:
    """A running MariaDB."""

    port: int

    def url(self, database: str = "test", driver: str = "mysql+pymysql") -> str:
        """A URL of SQLAlchemy for the user who may do anything."""
        password = quote(MARIADB_PASSWORD, safe="")
        return f"{driver}://{MARIADB_USER}:{password}@127.0.0.1:{self.port}/{quote(database, safe='')}"


@contextmanager
def run_mariadb(*options: str) -> Iterator[MariaDB]:
    """A MariaDB with an empty database `test`, and more options of mariadbd."""
    tool, port = get_tool("mariadbd"), free_port()
    with make_folder() as folder:
        data = folder / "data"
        data.mkdir()
        give(data)
        base = [f"--basedir={tool.root / 'usr'}", f"--datadir={data}"]
        make_system_tables(tool, folder, base)
        first = folder / "first.sql"
        first.write_text(
            "CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4;\n"
            f"CREATE USER '{MARIADB_USER}'@'%' IDENTIFIED BY '{MARIADB_PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{MARIADB_USER}'@'%' WITH GRANT OPTION;\n"
        )
        where = ["--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/socket"]
        small = ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--skip-name-resolve"]
        arguments = ["--no-defaults", *base, *where, *small, f"--init-file={first}", f"--pid-file={folder}/pid"]
        with run_tool(tool, [*arguments, *options], folder, port):
            yield MariaDB(port)


def make_system_tables(tool: Tool, folder: Path, base: list[str]) -> None:
    """The tables of a new MariaDB, as its installation makes them."""
    texts = ["CREATE DATABASE mysql;\nUSE mysql;\n"]
    for stem in ("system_tables", "performance_tables", "system_tables_data"):
        (path,) = (tool.root / "usr/share/mysql").glob(f"m*_{stem}.sql")
        texts.append(path.read_text())
    made = subprocess.run(
        [str(tool.program), "--no-defaults", "--bootstrap", *base],
        cwd=folder,
        env={"PATH": os.defpath, "LC_ALL": "C"} | tool.environment,
        input="".join(texts),
        capture_output=True,
        text=True,
        timeout=300,
        **as_server_user(),  # type: ignore[call-overload]
    )
    assert made.returncode == 0, made.stdout + made.stderr


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB for all tests of a process; `mariadb.url("name")` is a database of its, `test` exists."""
    with run_mariadb() as running:
        yield running
