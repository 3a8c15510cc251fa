"""How fast streams are loaded: `python -m bench.streams [--runs 3]`.

Three figures, against brokers of this machine:
- the rate at which a backlog is drained, as a share of the rate at which the same records are loaded from a file
  (promised 0.9, and 25,000 records a second of 50,000);
- how long a load of 100 records takes (promised 0.25 s);
- how soon what is produced, 200 messages a second, is visible in the database, with a worker on its default settings
  (promised 2 s for 99 of 100).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TypeAlias

import psycopg
from rich.console import Console

from bench.visibility import percentile
from ingest.inputs.stream.clients import KEPT
from runtime.postgres.database import ROLES, DatabaseUrls, create_roles
from runtime.postgres.embedded_postgres import EmbeddedPostgres, run_embedded
from tests.support.brokers import KafkaBroker, NatsServer
from tests.support.lab import Lab

SIZES = (5_000, 20_000, 50_000)
SMALL = 100
SMALL_RUNS = 10
RATE = 200  # messages a second
LIVE_SECONDS = 20
LOOK_SECONDS = 0.005
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: readings
name: Readings
version: 1.0.0
status: active
servers:
  - {{server: here, type: local, path: "${{DECANT_DATA}}", format: ndjson}}
  - {{server: kafka, type: kafka, host: "{kafka}", format: json}}
  - server: nats
    type: custom
    customProperties: [{{property: kind, value: nats}}, {{property: url, value: "{nats}"}}]
schema:
  - name: readings
    customProperties: [{{property: input, value: {input}}}]
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: station, logicalType: string, required: true, logicalTypeOptions: {{maxLength: 20}}}}
      - {{name: value, logicalType: number}}
      - {{name: at, logicalType: timestamp}}
roles: [{{role: "readings:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}]
"""
Broker: TypeAlias = KafkaBroker | NatsServer
out = Console()


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with open_bench() as bench:
        for size in SIZES:
            bench.compare(size, runs)
        bench.time_small()
        bench.watch()
    return 0


def make_lines(first: int, number: int) -> list[bytes]:
    """Records as JSON."""
    return [
        b'{"id": %d, "station": "station %d", "value": %d.25, "at": "2026-01-01T00:00:%02dZ"}'
        % (each, each % 50, each % 1000, each % 60)
        for each in range(first, first + number)
    ]


class StreamBench:
    """A Postgres, a broker of each kind, and products that they feed."""

    def __init__(self, folder: Path, server: EmbeddedPostgres) -> None:
        self.folder = folder
        self.server = server
        self.number = 0
        self.kafka = KafkaBroker(folder / "kafka")
        self.nats = NatsServer(folder / "nats")

    def make(self, **source: object) -> Lab:
        """A new product with this input."""
        self.number += 1
        name = f"streams_{self.number}"
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        url = self.server.url
        urls = DatabaseUrls(url(database=name), *(url(user=role, database=name) for role in ROLES))
        given = json.dumps(source | {"mode": "upsert"})
        text = CONTRACT.format(input=given, kafka=self.kafka.url, nats=self.nats.url)
        lab = Lab.build(self.folder / name, urls, text)
        lab.migrate()
        return lab

    def fed_by(self, broker: Broker) -> tuple[Lab, str]:
        """A new product that a new topic, or stream, of the broker feeds; and its name."""
        name = f"readings{self.number}"
        if isinstance(broker, KafkaBroker):
            broker.add_topic(name)
            return self.make(server="kafka", topic=name), name
        broker.add_stream(name, [f"{name}.>"])
        return self.make(server="nats", stream=name), name

    def send(self, broker: Broker, name: str, lines: list[bytes]) -> None:
        """Produces these records."""
        if isinstance(broker, KafkaBroker):
            broker.produce(name, [(None, line) for line in lines])
        else:
            broker.publish((f"{name}.all", line) for line in lines)

    def compare(self, size: int, runs: int) -> None:
        """Prints how fast a backlog is drained, and the same records are loaded from a file, in turns."""
        lines = make_lines(0, size)
        found: dict[str, list[float]] = {"file": [], "kafka": [], "nats": []}
        for _ in range(runs):
            lab = self.make(server="here", path="readings.ndjson")
            lab.write("readings.ndjson", lines[0] + b"\n")
            time_load(lab, 1)  # the statements of the product are compiled from now on, as those of the streams below
            lab.write("readings.ndjson", b"\n".join(lines) + b"\n")
            found["file"].append(time_load(lab, size))
            for broker, label in ((self.kafka, "kafka"), (self.nats, "nats")):
                lab, name = self.fed_by(broker)
                time_load(lab, 0)  # its client is kept from now on, as in a worker
                self.send(broker, name, lines)
                found[label].append(time_load(lab, size))
        rates = {label: size / median(seconds) for label, seconds in found.items()}
        shown = [f"{label} {rate:,.0f}/s = {rate / rates['file']:.2f}" for label, rate in rates.items()]
        out.print(f"{size:,} records: {', '.join(shown)}", highlight=False)

    def time_small(self) -> None:
        """Prints how long a load of few records takes."""
        for broker, label in ((self.kafka, "kafka"), (self.nats, "nats")):
            lab, name = self.fed_by(broker)
            seconds = []
            for run in range(SMALL_RUNS):
                self.send(broker, name, make_lines(run * SMALL, SMALL))
                seconds.append(time_load(lab, SMALL))
            warm = sorted(seconds[1:])
            line = f"{SMALL} records of {label}: median {median(warm):.3f} s, most {warm[-1]:.3f} s"
            out.print(line, highlight=False)

    def watch(self) -> None:
        """Prints how soon what is produced is visible, with a worker."""
        for broker, label in ((self.kafka, "kafka"), (self.nats, "nats")):
            lab, name = self.fed_by(broker)
            with run_worker(lab):
                waits = self.measure_waits(lab, broker, name)
            p50, p99 = percentile(waits, 0.5), percentile(waits, 0.99)
            line = f"visible, {label} at {RATE}/s: p50 {p50:.2f} s, p99 {p99:.2f} s, most {max(waits):.2f} s"
            out.print(line, highlight=False)

    def measure_waits(self, lab: Lab, broker: Broker, name: str) -> list[float]:
        """How long each message took to be visible; the worker's start does not count."""
        self.send(broker, name, make_lines(0, 1))
        wait_for_records(lab, 1)
        produced: list[float] = []
        seen: list[float] = []
        total = RATE * LIVE_SECONDS

        def produce() -> None:
            began = time.monotonic()
            for start in range(0, total, RATE // 10):
                self.send(broker, name, make_lines(1 + start, RATE // 10))
                produced.extend([time.monotonic()] * (RATE // 10))
                time.sleep(max(0.0, began + (start + RATE // 10) / RATE - time.monotonic()))

        thread = threading.Thread(target=produce, daemon=True)
        thread.start()
        until = time.monotonic() + LIVE_SECONDS + 60
        with psycopg.connect(lab.urls.read, autocommit=True) as connection:
            while len(seen) < total and time.monotonic() < until:
                row = connection.execute("SELECT record_count FROM decant.datasets").fetchone()
                now = time.monotonic()
                seen += [now] * ((row[0] if row else 0) - 1 - len(seen))
                time.sleep(LOOK_SECONDS)
        thread.join()
        return [there - sent for sent, there in zip(produced, seen, strict=True)]

    def close(self) -> None:
        """Ends the brokers."""
        KEPT.close()
        self.kafka.stop()
        self.nats.stop()


def time_load(lab: Lab, records: int) -> float:
    """The seconds of a load that brings so many records."""
    report = lab.ingest("readings.readings")
    brought = report.outcome.raw if report.outcome else None
    assert brought == records, report
    return report.seconds


def wait_for_records(lab: Lab, number: int) -> None:
    """Returns when so many records are visible."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if lab.rows("SELECT record_count FROM decant.datasets")[0][0] >= number:
            return
        time.sleep(0.05)
    raise AssertionError("the worker loads nothing")


@contextmanager
def run_worker(lab: Lab) -> Iterator[None]:
    """`decant worker`, on its default settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("DECANT_")}
    environment = own | {
        "DECANT_HOME": str(lab.settings.home),
        "DECANT_CONTRACTS": str(lab.settings.contracts),
        "DECANT_DATA": str(lab.settings.data_folder),
        "DECANT_DATABASE_URL": lab.urls.owner,
        "DECANT_INGEST_DATABASE_URL": lab.urls.ingest,
    }
    command = [str(Path(sys.executable).with_name("decant")), "worker"]
    with (lab.settings.home.parent / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def open_bench() -> Iterator[StreamBench]:
    """A server and the brokers, in a folder that goes."""
    with tempfile.TemporaryDirectory(prefix="decant-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with run_embedded(folder / "postgres") as server:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                create_roles(connection)
            bench = StreamBench(folder, server)
            try:
                yield bench
            finally:
                bench.close()


if __name__ == "__main__":
    sys.exit(main())
