"""The files in deploy/, run without containers: what compose.yaml says of each service, as processes on 127.0.0.1."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from scripts.debian_tools import Tool
from tests.support.compose import API, DEPLOY, image_environment, interpolate, make_variables, read_compose
from tests.support.proxies import run_shipped_pgbouncer
from tests.support.tools import (
    as_server_user,
    free_port,
    give,
    make_folder,
    run_tool,
    stop,
)
from tests.support.waiting import wait_until

COMMAND_SECONDS = 300
START_SECONDS = 180.0  # of a process, beside whatever else runs on the machine
CLEAN_EXITS = {0, 128 + signal.SIGTERM}


@dataclass
class Stack:
    """The services of compose.yaml over one folder."""

    folder: Path
    variables: dict[str, str]
    postgres: int  # the ports
    pooler: int
    binaries: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  # of the last command
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in API})

    @property
    def home(self) -> Path:
        """The volume that all processes share."""
        return self.folder / "home"

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service's process: of the image, and of compose.yaml with addresses of this machine."""
        given = read_compose()["services"][service]["environment"]
        filled = {name: interpolate(str(value), self.variables) for name, value in given.items()}
        places = {"@postgres": f"@127.0.0.1:{self.postgres}", "@pooler:6432": f"@127.0.0.1:{self.pooler}"}
        for name, value in filled.items():
            for host, place in places.items():
                value = re.sub(rf"{host}(:5432)?(?=/)", place, value)
            filled[name] = value.replace("/contracts", str(self.folder / "contracts"))
        here = {
            "PATH": os.defpath,
            "DECANT_HOST": "127.0.0.1",
            "DECANT_HOME": str(self.home),
            "DECANT_DATA": str(self.folder / "data"),
            # Many requests come from one address.
            "DECANT_RATE_LIMIT_ANONYMOUS": "off",
            "DECANT_RATE_LIMIT_DEFAULT": "off",
            # Whatever else runs on the machine.
            "DECANT_POOL_TIMEOUT_MS": "60000",
            "DECANT_QUERY_TIMEOUT_MS": "60000",
        }
        if service in API:
            here |= {"DECANT_PORT": str(self.ports[service]), "DECANT_TRUSTED_PROXIES": "127.0.0.1/32"}
        return image_environment() | filled | here

    def command(self, words: Sequence[str], code: Path | None) -> list[str]:
        """`decant …`, of another version's code where one is given."""
        start = f"import sys; sys.path.insert(0, {str(code)!r}); " if code else ""
        return [sys.executable, "-c", f"{start}import decant; decant.main()", *words]

    def run(self, service: str, *words: str, code: Path | None = None) -> str:
        """What a command says with the environment of a service, once it has ended well."""
        done = subprocess.run(
            self.command(words or read_compose()["services"][service]["command"], code),
            cwd=code or self.folder,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.warnings = [line for line in done.stderr.splitlines() if "warning" in line]
        return done.stdout

    def start(self, service: str, code: Path | None = None) -> None:
        """Starts a service's process; one of the API is ready afterwards."""
        with (self.folder / f"{service}.log").open("ab") as log:
            self.running[service] = subprocess.Popen(
                self.command(read_compose()["services"][service]["command"], code),
                cwd=code or self.folder,
                env=self.environment(service),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if service in API:
            wait_until(lambda: self.is_ready(service), START_SECONDS)

    def is_ready(self, service: str) -> bool:
        """Whether a process of the API says that it can serve."""
        assert self.running[service].poll() is None, self.log(service)
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.ports[service]}/readyz", timeout=20).status_code == 200
        return False

    def stop(self, service: str) -> None:
        """Ends a service's process as a container is ended: SIGTERM, and SIGKILL only after its grace period."""
        process = self.running.pop(service)
        process.send_signal(signal.SIGTERM)
        grace = read_compose()["services"][service]["stop_grace_period"]
        assert process.wait(int(grace.removesuffix("s"))) in CLEAN_EXITS, self.log(service)

    def log(self, service: str) -> str:
        """What a service has said."""
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives the owner."""
        url = self.environment("migrate")["DECANT_DATABASE_URL"]
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


@contextmanager
def open_stack(
    folder: Path, binaries: Path, contract: str, files: Mapping[str, str], *, pooled: bool = False
) -> Iterator[Stack]:
    """Postgres and PgBouncer with the shipped logins, and nothing of Decant running yet."""
    for name in ("contracts", "data", "home"):
        (folder / name).mkdir()
    (folder / "contracts" / "contract.odcs.yaml").write_text(contract)
    for name, content in files.items():
        (folder / "data" / name).write_text(content)
    variables = make_variables() | ({"READ_HOST": "pooler:6432"} if pooled else {})
    with ExitStack() as stack:
        port = stack.enter_context(run_postgres(binaries, variables))
        pooler = stack.enter_context(run_shipped_pgbouncer(port, variables)) if pooled else 0
        made = Stack(folder, variables, port, pooler, binaries)
        try:
            yield made
        finally:
            for process in made.running.values():
                stop(process)


@contextmanager
def run_postgres(binaries: Path, variables: Mapping[str, str]) -> Iterator[int]:
    """The port of a Postgres that asks for passwords, with the database and the logins of roles.sql."""
    port = free_port()
    with make_folder() as folder:
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"]
        options += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        run_binary(binaries / "initdb", folder, "-D", str(folder / "data"), *options)
        settings = (f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off")
        arguments = ["-D", str(folder / "data"), *(f"-c{setting}" for setting in settings)]
        with run_tool(Tool(binaries / "postgres", Path("/"), {}), arguments, give(folder), port, last=signal.SIGQUIT):
            local = f"host={folder} port={port} user=postgres dbname=postgres"
            wait_until(lambda: answers(local), START_SECONDS)
            roles = folder / "roles.sql"
            roles.write_text((DEPLOY / "postgres" / "roles.sql").read_text(encoding="utf-8"))
            run_binary(binaries / "psql", folder, "--no-psqlrc", f"--file={roles}", local, **variables)
            yield port


def answers(conninfo: str) -> bool:
    """Whether a server takes connections: its port is open before."""
    with suppress(psycopg.OperationalError):
        psycopg.connect(conninfo, connect_timeout=5).close()
        return True
    return False


def run_binary(program: Path, folder: Path, *arguments: str, **variables: str) -> None:
    """Runs a program of Postgres to its end, as the user of the server."""
    done = subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env={"PATH": os.defpath, "LC_ALL": "C"} | variables,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        **as_server_user(),  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stdout + done.stderr
