"""`python -m tests.endurance crash --kills 200`, `hosts --minutes 60`, `volume --records 10000000` and others."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from runtime.postgres.database import ROLES, DatabaseUrls, create_roles
from runtime.postgres.embedded_postgres import EmbeddedPostgres, run_embedded
from tests.endurance import crash, hosts, news, outages, replication, streams, testbed, volume
from tests.support.brokers import KafkaBroker, NatsServer
from tests.support.buckets import LOGIN, make_bucket, serve_buckets
from tests.support.lab import PEOPLE, Lab
from tests.support.source_server import run_source

PEAK_BYTES = 1 << 30
PEAK_RATIO = 1.2  # of ten times the records


class Labs:
    """Products on databases of one server, each in a folder of its own."""

    def __init__(self, folder: Path, server: EmbeddedPostgres) -> None:
        self.folder = folder
        self.server = server
        self.number = 0

    def make(self, contract: str, **settings: Any) -> Lab:
        """The product of a contract, migrated."""
        self.number += 1
        name = f"endurance_{self.number}"
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        url = self.server.url
        urls = DatabaseUrls(url(database=name), *(url(user=role, database=name) for role in ROLES))
        lab = Lab.build(self.folder / name, urls, contract, **settings)
        lab.migrate()
        return lab


@contextmanager
def open_labs() -> Iterator[Labs]:
    """A server and a folder, for as long as they are needed."""
    folder = Path(tempfile.mkdtemp(prefix="decant-endurance-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with run_embedded(folder / "postgres") as server:
            with psycopg.connect(server.url(), autocommit=True) as connection:
                create_roles(connection)
            yield Labs(folder, server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(line: str) -> None:
    """One line for whoever watches."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def main() -> int:
    """0 where everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    kill = parts.add_parser("crash", help="loads killed at every step")
    kill.add_argument("--kills", type=int, default=200)
    kill.add_argument("--seed", type=int, default=int(time.time()))
    kill.add_argument("--hosts", type=int, choices=[1, 2], default=1, help="2: they share a bucket, and no disk")
    stream = parts.add_parser("streams", help="loads of a stream, and its broker, killed while it is written")
    stream.add_argument("--kills", type=int, default=200)
    stream.add_argument("--seed", type=int, default=int(time.time()))
    away = parts.add_parser("outages", help="brokers that go away for a while under a producer and a worker")
    away.add_argument("--outages", type=int, default=2)
    away.add_argument("--seconds", type=float, default=60)
    away.add_argument("--seed", type=int, default=int(time.time()))
    told = parts.add_parser("news", help="revisions told to receivers that misbehave, while parts are killed")
    told.add_argument("--publications", type=int, default=500)
    told.add_argument("--seed", type=int, default=int(time.time()))
    replicated = parts.add_parser("replication", help="loads of a replicated table, killed while it is written")
    replicated.add_argument("--kills", type=int, default=50)
    replicated.add_argument("--seed", type=int, default=int(time.time()))
    pair = parts.add_parser("hosts", help="two hosts with a bucket and a pooler, killed for a while")
    pair.add_argument("--minutes", type=float, default=60)
    pair.add_argument("--seed", type=int, default=int(time.time()))
    pair.add_argument("--logs", type=Path, help="a folder for the logs, which stays")
    size = parts.add_parser("volume", help="memory at a tenth of the records, and at all of them")
    size.add_argument("--records", type=int, default=10_000_000)
    chosen = parser.parse_args()
    with open_labs() as labs:
        if chosen.part == "crash":
            say(f"seed {chosen.seed}")
            with open_buckets(chosen.hosts) as make_store:
                kill_loads(labs, chosen.kills, chosen.seed, make_store)
            return 0
        if chosen.part == "streams":
            say(f"seed {chosen.seed}")
            kill_streams(labs, chosen.kills, chosen.seed)
            return 0
        if chosen.part == "outages":
            say(f"seed {chosen.seed}")
            stay_away(labs, chosen.outages, chosen.seconds, chosen.seed)
            return 0
        if chosen.part == "news":
            say(f"seed {chosen.seed}")
            news.run_news(labs.make(PEOPLE), chosen.publications, chosen.seed, say)
            say("the last revision arrived everywhere, and nothing twice under one id with another content")
            return 0
        if chosen.part == "replication":
            say(f"seed {chosen.seed}")
            with run_source(labs.server.binaries) as source:
                lab = labs.make(replication.prepare(source))
                replication.run_table(lab, source, chosen.kills, chosen.seed, say)
            say("every change is accounted for once, and the records are the rows of the table")
            return 0
        if chosen.part == "hosts":
            say(f"seed {chosen.seed}")
            os.environ |= LOGIN
            folder = chosen.logs or labs.folder / "site"
            hosts.run_hosts(labs.make, labs.server, folder, chosen.minutes * 60, chosen.seed, say)
            say("every record is counted once, and every answer was right")
            return 0
        small, large = volume.run_volume(labs.make, [chosen.records // 10, chosen.records], say)
        say(f"peak {small / 1e6:.0f} MB and {large / 1e6:.0f} MB: {large / small:.2f} times")
        return 0 if large <= PEAK_BYTES and large <= PEAK_RATIO * small else 1


@contextmanager
def open_buckets(hosts: int) -> Iterator[Callable[[], str | None]]:
    """Makes the address of a new bucket that two hosts share; None for one host."""
    if hosts == 1:
        yield lambda: None
        return
    os.environ |= LOGIN
    with serve_buckets() as endpoint:
        yield lambda: make_bucket(endpoint, secrets.token_hex(8))


def kill_loads(labs: Labs, kills: int, seed: int, make_store: Callable[[], str | None]) -> None:
    """As many runs as there are points at which the first load of a dataset dies."""
    total: Counter[str] = Counter()
    for number, first in enumerate(crash.FIRST_POINTS):
        lab = labs.make(testbed.CONTRACT, store_url=make_store())
        testbed.prepare(lab)
        total.update(crash.run_kills(lab, kills // len(crash.FIRST_POINTS), seed + number, first, say))
    for name, times in total.items():
        say(f"{times:4}  killed {name}")
    say("every record is accounted for, nothing is doubled, nothing is left about")


def stay_away(labs: Labs, times: int, seconds: float, seed: int) -> None:
    """So many outages of each broker."""
    with streams.run_broker(NatsServer(labs.folder / "nats")) as broker:
        lab = labs.make(outages.write_contract("nats", broker.url))
        outages.run_outages(lab, broker, times, seconds, seed, say)
    with streams.run_broker(KafkaBroker(labs.folder / "kafka")) as broker:
        lab = labs.make(outages.write_contract("kafka", broker.url))
        outages.run_outages(lab, broker, times, seconds, seed, say)
    say("every message is accounted for once, and each key has its last value")


def kill_streams(labs: Labs, kills: int, seed: int) -> None:
    """Half of the kills with each broker."""
    with streams.run_broker(NatsServer(labs.folder / "nats")) as broker:
        lab = labs.make(streams.write_contract("nats", broker.url))
        streams.run_stream(lab, broker, kills // 2, seed, say)
    with streams.run_broker(KafkaBroker(labs.folder / "kafka")) as broker:
        lab = labs.make(streams.write_contract("kafka", broker.url))
        streams.run_stream(lab, broker, kills // 2, seed, say)
    say("every message is accounted for once, and each key has its last value")


if __name__ == "__main__":
    sys.exit(main())
