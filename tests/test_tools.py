"""The programs that only tests run answer, and are what they claim to be."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.processes import find_descendants
from tests.support.tools import Bouncer, MariaDB, get_tool, run_nginx


def test_pgbouncer_gives_one_client_several_backends(pgbouncer: Bouncer, server: EmbeddedPostgres) -> None:
    with psycopg.connect(pgbouncer.url(), autocommit=True) as one, psycopg.connect(pgbouncer.url()) as other:
        first = one.execute("SELECT pg_backend_pid()").fetchone()
        # The other's transaction holds the backend that the first one had.
        assert other.execute("SELECT pg_backend_pid()").fetchone() == first
        assert one.execute("SELECT pg_backend_pid()").fetchone() != first


def test_nginx_answers() -> None:
    with run_nginx(lambda port, folder: f"server {{ listen 127.0.0.1:{port}; return 200 'here'; }}") as nginx:
        assert httpx.get(f"http://127.0.0.1:{nginx.port}/", timeout=60).text == "here"


def test_mariadb_keeps_rows(mariadb: MariaDB) -> None:
    engine = sa.create_engine(mariadb.url())
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE one (name text)"))
        connection.execute(sa.text("INSERT INTO one VALUES ('Žižka')"))
        assert connection.execute(sa.text("SELECT name FROM one")).scalar_one() == "Žižka"
        assert "MariaDB" in connection.execute(sa.text("SELECT version()")).scalar_one()
        connection.execute(sa.text("DROP TABLE one"))
    engine.dispose()


STOP_MILLISECONDS = 60_000
# Each program with how it is started: what is run has a process of its own, or several.
STARTED = {
    "nginx": "run_nginx(lambda port, folder: f\"server {{ listen 127.0.0.1:{port}; return 200 'here'; }}\")",
    "pgbouncer": "run_pgbouncer(EmbeddedPostgres(Path('/tmp'), False, Path('/tmp')))",
    "mariadbd": "run_mariadb()",
}
PARENT = """
import signal
from pathlib import Path
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.tools import run_mariadb, run_nginx, run_pgbouncer
with {started}:
    print("running", flush=True)
    signal.pause()
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", STARTED)
def test_no_program_outlives_who_started_it(program: str) -> None:
    get_tool(program)  # fetched here, where that may take its time
    code = PARENT.format(started=STARTED[program])
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"running\n"
        children = find_descendants(parent.pid)
        folders = {Path(*Path(os.readlink(f"/proc/{child}/cwd")).parts[:3]) for child in children}
        watched = [os.pidfd_open(child) for child in children]
        parent.kill()
    assert len(children) == (2 if program == "nginx" else 1)
    waiting = select.poll()
    for descriptor in watched:
        waiting.register(descriptor, select.POLLIN)
    left = set(watched)
    for _ in children:  # each poll tells of one that has ended, at least
        for descriptor, _ in waiting.poll(STOP_MILLISECONDS) if left else ():
            waiting.unregister(descriptor)
            left.discard(descriptor)
    for descriptor in watched:
        os.close(descriptor)
    for folder in folders:
        if folder.name.startswith("decant-tool-"):
            shutil.rmtree(folder, ignore_errors=True)
    assert left == set()
