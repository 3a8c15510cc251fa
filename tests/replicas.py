"""A streaming replica of the tests' Postgres."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

from catalog.embedded import OWNER, PORT, SERVER_USER, EmbeddedPostgres

WAIT_SECONDS = 30.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Replica:
    """A server that replays what its primary writes."""

    socket_folder: Path
    primary: EmbeddedPostgres

    def url(self, user: str, database: str) -> str:
        """A login of a database on the replica."""
        where = urlencode({"host": str(self.socket_folder), "port": PORT})
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?{where}"

    def value(self, statement: str) -> Any:
        """The one value of a statement, as the owner."""
        return ask(self.url(OWNER, OWNER), statement)

    def catch_up(self) -> None:
        """Nothing comes back; what the primary has written by now can be read here."""
        written = ask(self.primary.url(), "SELECT pg_current_wal_lsn()::text")
        wait_until(lambda: self.value(f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))

    def pause(self) -> None:
        """Nothing comes back; from now on nothing new can be read here."""
        self.value("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self.value("SELECT pg_get_wal_replay_pause_state() = 'paused'"))

    def resume(self) -> None:
        """Nothing comes back; the replica goes on."""
        self.value("SELECT pg_wal_replay_resume()")


def ask(url: str, statement: str) -> Any:
    """The one value of a statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


def wait_until(holds: Callable[[], Any]) -> None:
    """Nothing comes back once the condition holds; AssertionError where it never does."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(POLL_SECONDS)


@contextmanager
def run_replica(primary: EmbeddedPostgres) -> Iterator[Replica]:
    """A replica of the whole server, gone with the context."""
    folder = Path(tempfile.mkdtemp(prefix="decant-replica-", dir="/tmp"))
    # Postgres refuses to run as root.
    whose: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam(SERVER_USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        whose = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    log = (folder.with_name(f"{folder.name}.log")).open("wb")
    data = folder / "data"
    source = ["-h", str(primary.socket_folder), "-p", str(PORT), "-U", OWNER]
    copy = [str(primary.binaries / "pg_basebackup"), *source, "-D", str(data)]
    options = ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"]
    server = None
    try:
        subprocess.run([*copy, *options], check=True, stdout=log, stderr=log, cwd="/", **whose)
        settings = [f"unix_socket_directories={folder}", "listen_addresses=", "hot_standby=on", "fsync=off"]
        command = [str(primary.binaries / "postgres"), "-D", str(data)]
        server = subprocess.Popen(
            [*command, *(part for setting in settings for part in ("-c", setting))],
            stdout=log,
            stderr=log,
            cwd="/",
            **whose,
        )
        replica = Replica(folder, primary)
        wait_until(lambda: answers(replica))
        yield replica
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(WAIT_SECONDS)
        log.close()
        Path(log.name).unlink()
        shutil.rmtree(folder, ignore_errors=True)


def answers(replica: Replica) -> bool:
    """Whether the replica takes connections yet."""
    try:
        return bool(replica.value("SELECT pg_is_in_recovery()"))
    except psycopg.OperationalError:
        return False
