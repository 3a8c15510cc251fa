"""Two processes load one stream while a producer writes it; they are killed again and again, and so is the broker.

At the end every message is accounted for once: accepted, rejected or a duplicate, and each key has its last value.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.contract.load import load_catalog
from catalog.storage.dataset_tables import build_tables
from ingest.errors import DatasetBusyError
from ingest.inputs.stream.clients import KEPT
from ingest.loading.loader import Loader
from runtime.postgres.database import make_engine
from runtime.settings.settings import load_settings
from tests.support.brokers import KafkaBroker, NatsServer
from tests.support.lab import Lab
from tests.support.streams import CONTRACT

KEYS = 500
BATCH = 100  # messages that are produced at once
PAUSE_SECONDS = 0.1  # between two batches: what waits at the end is loaded by one process
POISON_SHARE = 0.01
TOMBSTONE_SHARE = 0.05
BUSY_SECONDS = 0.05
BUSY_LOOKS = 1_000
SLOW_LOOKS = 20  # each waits as long as a load does for its broker
CHILD_SECONDS = 60.0
LIVES = (0.3, 1.5)  # seconds that a process lives
TOPIC = "orders"


def write_contract(broker: str, url: str) -> str:
    """The contract of a product that the stream feeds."""
    name = "topic" if broker == "kafka" else "stream"
    chosen = {"server": broker, name: TOPIC, "mode": "upsert", "key": "id", "deletes": "tombstones"}
    hosts = {"kafka": "127.0.0.1:1", "nats": "nats://127.0.0.1:1"} | {broker: url}
    given = json.dumps(chosen | {"batch": {"records": 400}})
    return CONTRACT.format(registry="[]", input=given, more="", gates="", **hosts)


@dataclass
class Model:
    """What was produced."""

    chance: random.Random
    tombstones: float = TOMBSTONE_SHARE
    messages: int = 0
    poison: int = 0
    values: dict[int, int] = field(default_factory=dict)
    next_number: int = 0

    def make(self) -> list[tuple[str, bytes | None]]:
        """Some more messages: a number that grows for a key, the deletion of a key, or poison."""
        made: list[tuple[str, bytes | None]] = []
        for _ in range(BATCH):
            key, kind = self.chance.randrange(KEYS), self.chance.random()
            self.messages += 1
            self.next_number += 1
            if kind < POISON_SHARE:
                self.poison += 1
                made.append((str(key), b'{"amount": "poison %d"' % self.next_number))
            elif kind < POISON_SHARE + self.tombstones:
                self.values.pop(key, None)
                made.append((str(key), None))
            else:
                self.values[key] = self.next_number
                made.append((str(key), b'{"amount": %d}' % self.next_number))
        return made


def load_again_and_again(facts: dict[str, str]) -> None:
    """Loads until it is killed."""
    settings = load_settings(home=Path(facts["home"]), contracts=Path(facts["contracts"]), data=Path(facts["data"]))
    catalog = load_catalog(settings)
    loader = Loader(settings, catalog, build_tables(catalog.products.values()), make_engine(facts["ingest"]))
    dataset = catalog.find(facts["dataset"])[0]
    while True:
        try:
            if loader.run(dataset).status == "unchanged":
                time.sleep(BUSY_SECONDS)
        except DatasetBusyError:
            time.sleep(BUSY_SECONDS)


class StreamRun:
    """A producer, two processes that load, and whoever kills them."""

    def __init__(self, lab: Lab, broker: KafkaBroker | NatsServer, seed: int) -> None:
        self.lab = lab
        self.broker = broker
        self.chance = random.Random(seed)
        self.model = Model(random.Random(seed + 1))
        self.over = threading.Event()
        self.lock = threading.Lock()  # the broker is not killed while something is on its way to it
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["tests.endurance.streams"])
        self.failure: BaseException | None = None
        self.facts = {
            "home": str(lab.settings.home),
            "contracts": str(lab.settings.contracts),
            "data": str(lab.settings.data_folder),
            "ingest": lab.urls.ingest,
            "dataset": "orders.orders",
        }

    def produce(self) -> None:
        """Produces until it is over."""
        try:
            while not self.over.wait(PAUSE_SECONDS):
                with self.lock:
                    self.send(self.model.make())
        except BaseException as error:
            self.failure = error

    def send(self, messages: list[tuple[str, bytes | None]]) -> None:
        """Sends messages, all acknowledged; on NATS the subject holds the key, and a header marks a deletion."""
        if isinstance(self.broker, KafkaBroker):
            self.broker.produce(TOPIC, messages)
        else:
            self.broker.publish_keyed(TOPIC, messages)

    def kill(self, kills: int) -> Counter[str]:
        """Kills a process that loads, or the broker, so many times; what was killed how often."""
        killed: Counter[str] = Counter()
        children = [self.start_child() for _ in range(2)]
        with self.producing():
            for _ in range(kills):
                time.sleep(self.chance.uniform(*LIVES) / 2)
                if isinstance(self.broker, NatsServer) and self.chance.random() < 0.2:
                    with self.lock:
                        self.broker.kill()
                        time.sleep(self.chance.uniform(0, 0.5))
                        self.broker.start()
                    killed["broker"] += 1
                    continue
                place = self.chance.randrange(2)
                children[place].kill()
                children[place].join(CHILD_SECONDS)
                killed["loader"] += 1
                children[place] = self.start_child()
        for child in children:
            child.kill()
            child.join(CHILD_SECONDS)
        return killed

    @contextmanager
    def producing(self) -> Iterator[None]:
        """A producer at work, all of whose messages are acknowledged in the end."""
        producer = threading.Thread(target=self.produce, daemon=True)
        producer.start()
        try:
            yield
        finally:
            self.over.set()
            producer.join(CHILD_SECONDS)
        assert self.failure is None, self.failure

    def start_child(self) -> Any:
        """A process that loads."""
        child = self.processes.Process(target=load_again_and_again, args=(self.facts,), daemon=True)
        child.start()
        return child

    def finish(self) -> None:
        """Loads what is left: every load brings something, or there is nothing left."""
        busy = slow = 0
        for _ in range(self.model.messages):
            try:
                report = self.lab.ingest("orders.orders")
            except DatasetBusyError:  # the server has not noticed yet that a killed process is gone
                busy += 1
                assert busy < BUSY_LOOKS, "the dataset of a killed load stays busy"
                time.sleep(BUSY_SECONDS)
                continue
            if report.error_code == "source_unavailable":  # a broker that others keep from its cores is late
                slow += 1
                assert slow < SLOW_LOOKS, report
                continue
            assert report.status in {"published", "unchanged"}, report
            if report.outcome is not None and not report.outcome.raw and not report.more:
                KEPT.close()
                return
        raise AssertionError("the stream was not read to its end")

    def check(self) -> None:
        """Nothing is lost, nothing doubled, every key has its last value, and nothing is left about."""
        found = dict(self.lab.rows("SELECT id, amount FROM orders_v1.orders"))
        assert found == self.model.values
        ended = "status IN ('published', 'unchanged')"
        sums = "sum(raw)::int, sum(accepted)::int, sum(rejected)::int, sum(duplicates)::int"
        raw, accepted, rejected, duplicates = self.lab.rows(f"SELECT {sums} FROM decant.loads WHERE {ended}")[0]
        assert raw == self.model.messages
        assert accepted + rejected + duplicates == raw
        assert rejected == self.model.poison
        assert self.lab.rows("SELECT 1 FROM decant.loads WHERE status = 'running'") == []
        assert self.lab.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'decant_staging'") == []


@contextmanager
def run_broker(broker: NatsServer | KafkaBroker) -> Iterator[NatsServer | KafkaBroker]:
    """A broker with the stream or topic, for as long as it is needed."""
    try:
        if isinstance(broker, NatsServer):
            broker.add_stream(TOPIC, ["*"])
        else:
            broker.add_topic(TOPIC, 3)
        yield broker
    finally:
        broker.stop()


def run_stream(
    lab: Lab, broker: KafkaBroker | NatsServer, kills: int, seed: int, say: Callable[[str], None]
) -> Counter[str]:
    """What was killed how often; an AssertionError where something was lost or doubled."""
    run = StreamRun(lab, broker, seed)
    killed = run.kill(kills)
    run.finish()
    run.check()
    say(f"{run.model.messages:,} messages, {run.model.poison:,} of them poison: {dict(killed)}")
    return killed
