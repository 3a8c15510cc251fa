"""What production refuses at its start, and what it takes, on a real Postgres over a real network."""

from __future__ import annotations

import socket
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import psycopg
import pytest

from api.auth.api_keys import create_key
from runtime.errors import SettingsError
from runtime.postgres.database import ROLES, DatabaseUrls, make_engine, open_database
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from runtime.settings.production_checks import DEMO_MAKER, accepts_anyone, require_safe
from runtime.settings.secret import read_secret
from runtime.settings.settings import load_settings
from tests.support.lab import Lab
from tests.support.telemetry import DECANT, environment

PASSWORD = "s3cret-of-the-tests"
LOGINS = ("owner", "ingest", "read", "write")


class Gate(ThreadingTCPServer):
    """A port of this machine that leads to the server's socket: the embedded Postgres has none of its own."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(("127.0.0.1", 0), Passage)


class Passage(BaseRequestHandler):
    """One connection through the gate."""

    server: Gate

    def handle(self) -> None:
        """Passes on what comes from either side until one of them ends."""
        with socket.socket(socket.AF_UNIX) as inner:
            inner.connect(str(self.server.path))
            back = threading.Thread(target=pass_on, args=(inner, self.request), daemon=True)
            back.start()
            pass_on(self.request, inner)
            back.join(10)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Copies bytes until there are no more."""
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()


@pytest.fixture(scope="module")
def port(server: EmbeddedPostgres) -> Iterator[int]:
    """The port under which the server can be reached over the network."""
    with Gate(server.socket_folder / ".s.PGSQL.5432") as gate:
        thread = threading.Thread(target=gate.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield gate.server_address[1]
        gate.shutdown()
        thread.join(10)


def over_network(urls: DatabaseUrls, port: int, password: str = PASSWORD) -> DatabaseUrls:
    """The four logins over the network, with a password."""
    name = urls.owner.rpartition("/")[2].partition("?")[0]
    made = (f"postgresql://{user}:{password}@127.0.0.1:{port}/{name}" for user in ("decant", *ROLES))
    return DatabaseUrls(*made)


@contextmanager
def passwords_needed(urls: DatabaseUrls, *but: str) -> Iterator[None]:
    """Each login needs its password for this database as long as this lasts, `but` those of these users."""
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        name = connection.info.dbname
        for user in ("decant", *ROLES):
            connection.execute(f"ALTER ROLE {user} PASSWORD '{PASSWORD}'".encode())
        ((file,),) = connection.execute("SHOW hba_file").fetchall()
        before = Path(file).read_text()
        lines = [
            f"local {name} {user} {'trust' if user in but else 'scram-sha-256'}\n" for user in ("decant", *ROLES)
        ]
        try:
            Path(file).write_text("".join(lines) + before)
            connection.execute("SELECT pg_reload_conf()")
            wait_for_passwords(urls, but)
            yield
        finally:
            Path(file).write_text(before)
            connection.execute("SELECT pg_reload_conf()")
            for user in ("decant", *ROLES):
                connection.execute(f"ALTER ROLE {user} PASSWORD NULL".encode())


def wait_for_passwords(urls: DatabaseUrls, but: tuple[str, ...]) -> None:
    """Returns once the server has read its file again."""
    url = next(url for user, url in zip(("decant", *ROLES), vars(urls).values(), strict=True) if user not in but)
    for _ in range(2000):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return
    raise AssertionError("the server lets everybody in")


def test_a_login_that_needs_no_password_over_the_network_is_refused_by_its_name(lab: Lab, port: int) -> None:
    safe = over_network(lab.urls, port)
    for place, (name, user) in enumerate(zip(LOGINS, ("decant", *ROLES), strict=True)):
        with passwords_needed(lab.urls, user):
            assert [accepts_anyone(url) for url in vars(safe).values()] == [n == place for n in range(4)]
            with pytest.raises(SettingsError, match=f"accepts the {name} login with any password"):
                require_safe(safe)


def test_logins_with_passwords_are_taken(lab: Lab, port: int) -> None:
    with passwords_needed(lab.urls):
        require_safe(over_network(lab.urls, port))
        with psycopg.connect(over_network(lab.urls, port).read) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        # A wrong one is nothing that the service could not be told of later.
        require_safe(over_network(lab.urls, port, "wrong"))


def test_a_socket_of_this_machine_is_taken_since_the_system_vouches(lab: Lab) -> None:
    require_safe(lab.urls)


@pytest.mark.parametrize("form", ["?hostaddr=127.0.0.1&port={port}", "?host=127.0.0.1,/nowhere&port={port},1",
                                  "?host=/nowhere,127.0.0.1&port=1,{port}"])  # fmt: skip
def test_the_network_is_told_however_the_address_names_it(lab: Lab, port: int, form: str) -> None:
    name = lab.urls.owner.rpartition("/")[2].partition("?")[0]
    assert accepts_anyone(f"postgresql://decant:{PASSWORD}@/{name}{form.format(port=port)}")


def test_the_network_is_told_where_the_environment_names_it(
    lab: Lab, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(port))
    assert accepts_anyone(f"postgresql://decant:{PASSWORD}@/{lab.urls.owner.rpartition('/')[2].partition('?')[0]}")


def test_a_database_that_cannot_be_reached_is_no_reason_not_to_start(lab: Lab) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = over_network(lab.urls, closed.getsockname()[1])
        require_safe(nowhere)
    require_safe(replace(lab.urls, write=lab.urls.write.replace("decant_write", "nobody_at_all")))


def test_a_database_that_was_never_migrated_is_no_reason_not_to_start(urls: DatabaseUrls) -> None:
    require_safe(urls)


def test_the_demo_s_key_is_refused_as_long_as_it_is_valid(lab: Lab) -> None:
    def make(by: str | None, expires: datetime | None = None) -> None:
        create_key(make_engine(lab.urls.write), read_secret(lab.settings), "k", ["people:read"], expires, by)

    now = datetime.now(UTC)
    make("somebody")
    make(None)
    make(DEMO_MAKER, now - timedelta(hours=1))
    require_safe(lab.urls)
    make(DEMO_MAKER, now + timedelta(hours=1))
    with pytest.raises(SettingsError, match="demo's key is valid in this database"):
        require_safe(lab.urls)
    lab.rows("UPDATE decant.api_keys SET revoked_at = now() WHERE created_by = %s RETURNING 1", DEMO_MAKER)
    require_safe(lab.urls)
    make(DEMO_MAKER)
    with pytest.raises(SettingsError, match="decant keys revoke"):
        require_safe(lab.urls)


def serve(lab: Lab, urls: DatabaseUrls, **more: str) -> subprocess.Popen[str]:
    """The service, started as in production."""
    safe = {"DECANT_ENV": "production", "DECANT_SECRET": "x" * 32}
    logins = {
        f"DECANT_{name}DATABASE_URL": getattr(urls, login)
        for name, login in (("", "owner"), ("INGEST_", "ingest"), ("READ_", "read"), ("WRITE_", "write"))
    }
    variables = {k: v for k, v in (environment(lab, None) | safe | logins | more).items() if v}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([DECANT, "serve"], env=variables, **pipes)  # type: ignore[call-overload, no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"DECANT_SECRET": ""}, "DECANT_SECRET must hold at least 32 characters"),
        ({}, "accepts the owner login with any password"),
    ],
)
def test_the_command_does_not_start_in_production_with(
    lab: Lab, port: int, more: dict[str, str], message: str
) -> None:
    process = serve(lab, over_network(lab.urls, port), **more)
    said, told = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "")
    assert message in told
    assert told.startswith("error: ")
    assert PASSWORD not in told


@pytest.mark.slow
def test_the_command_starts_in_production_when_all_is_safe(lab: Lab, port: int) -> None:
    with passwords_needed(lab.urls):
        process = serve(lab, over_network(lab.urls, port))
        assert process.stdout
        assert process.stdout.readline().startswith("Serving on http://")
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "mysql://decant:hedwig@db/decant"),
        ("database_url", "postgresql://decant:can%aryhedwig@db/decant"),
        ("database_url", "postgresql://decant:hedwig@[::1/decant"),
        ("database_url", "postgresql://decant:hedwig/x@db:5432/decant"),
        ("database_url", "postgresql://decant:secret@hedwig@db:5432/decant"),
        ("database_url", "postgresql://decant:secret@db:hedwig/decant"),
        ("read_database_url", "postgresql://decant:hedwig@db/decant?passwrd=hedwig"),
        ("peppers", "hedwig"),
        ("peppers", '{"2": ["hedwig"]}'),
        ("peppers", '{"1": "hedwig"}'),
        ("token_issuers", '[{"issuer": "https://user:hedwig@login.example", "audience": "hedwig"}]'),
    ],
)
def test_a_secret_in_a_setting_that_cannot_be_used_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("DECANT_DATABASE_URL", "postgresql://db/decant")
    monkeypatch.setenv(f"DECANT_{name.upper()}", value)
    with pytest.raises(SettingsError) as refused, open_database(load_settings()):
        pass
    assert "DECANT_" in str(refused.value)
    assert "hedwig" not in "".join(traceback.format_exception(refused.value))
