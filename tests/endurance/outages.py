"""A broker goes away for a while, again and again, under a producer that goes on and a worker that is left alone.

NATS is killed, and stopped in its tracks so that connections hang; the producer sends again what nobody acknowledged,
under the same ids. What the broker of Kafka's protocol holds does not survive a kill: it is only stopped in its
tracks, while nothing is on its way to it, and its topic gets more partitions meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
from nats.errors import Error

from tests.endurance.streams import CHILD_SECONDS, TOPIC, Model, StreamRun
from tests.support.brokers import KafkaBroker, NatsServer, Produced
from tests.support.lab import Lab
from tests.support.streams import CONTRACT
from tests.support.telemetry import environment
from tests.support.waiting import wait_until

DECANT = Path(sys.executable).with_name("decant")
SENT_SECONDS = 5.0  # for a batch to be acknowledged
TRIES = 1_000
CAUGHT_UP_SECONDS = 300.0  # for the worker to have read everything: only a failure takes as long
LOOK_SECONDS = 0.2
CALM_SECONDS = 2.0  # between two outages


def write_contract(broker: str, url: str) -> str:
    """The contract of a product that the stream feeds, with a key whose messages may change their partition."""
    name = "topic" if broker == "kafka" else "stream"
    chosen = {"server": broker, name: TOPIC, "mode": "upsert", "key": "id", "orderBy": "amount"}
    hosts = {"kafka": "127.0.0.1:1", "nats": "nats://127.0.0.1:1"} | {broker: url}
    return CONTRACT.format(registry="[]", input=json.dumps(chosen), more="", gates="", **hosts)


class OutageRun(StreamRun):
    """A producer, a worker, and a broker that is away for some seconds."""

    def __init__(self, lab: Lab, broker: KafkaBroker | NatsServer, seed: int) -> None:
        super().__init__(lab, broker, seed)
        self.model = Model(random.Random(seed + 1), tombstones=0.0)  # they have no place among partitions
        self.sent_again = 0

    def send(self, messages: list[Produced]) -> None:
        """Sends messages until all are acknowledged, however often; the server drops repeats."""
        if isinstance(self.broker, KafkaBroker):
            self.broker.produce(TOPIC, messages)
            return
        first = self.model.messages
        for _ in range(TRIES):
            try:
                asyncio.run(publish(self.broker.url, first, messages))
                return
            except (Error, OSError, TimeoutError):
                self.sent_again += 1
                if self.over.wait(LOOK_SECONDS):
                    raise
        raise AssertionError("the broker never came back")

    def stay_away(self, seconds: float, *, kill: bool) -> None:
        """The broker is away for so long."""
        if isinstance(self.broker, KafkaBroker):
            with self.lock, self.broker.paused():
                time.sleep(seconds)
            self.broker.grow(TOPIC, len(self.broker.admin.list_topics(TOPIC, 10).topics[TOPIC].partitions) + 1)
        elif kill:
            self.broker.kill()
            time.sleep(seconds)
            self.broker.start()
        else:
            with self.broker.paused():
                time.sleep(seconds)

    def catch_up(self) -> float:
        """The seconds until the worker has read everything that was sent until now, or more."""
        began = time.monotonic()
        with self.lock:
            sent = self.model.messages
        while time.monotonic() - began < CAUGHT_UP_SECONDS:
            ended = "status IN ('published', 'unchanged')"
            ((read,),) = self.lab.rows(f"SELECT coalesce(sum(raw), 0)::int FROM decant.loads WHERE {ended}")
            if read >= sent:
                return time.monotonic() - began
            time.sleep(LOOK_SECONDS)
        raise AssertionError(f"{read:,} of {sent:,} messages were read")


async def publish(url: str, first: int, messages: list[Produced]) -> None:
    """Publishes (key, value) on one connection, with ids by which the server knows them again; TimeoutError, …"""

    async def say_nothing(error: Exception) -> None:
        """The library would show it."""

    connection = await nats.connect(url, allow_reconnect=False, connect_timeout=2, error_cb=say_nothing)
    try:
        stream = connection.jetstream()
        waiting = [
            await stream.publish_async(str(key), value or b"", headers={"Nats-Msg-Id": f"{first}-{place}"})
            for place, (key, value) in enumerate(messages)
        ]
        await asyncio.wait_for(asyncio.gather(*waiting), SENT_SECONDS)
    finally:
        await connection.close()


@contextmanager
def run_worker(lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has to end well when it is told to stop."""
    variables = environment(lab, None) | {"DECANT_INGEST_DATABASE_URL": lab.urls.ingest}
    log = lab.settings.home.parent / "worker.log"
    with log.open("wb") as file, subprocess.Popen([DECANT, "worker"], env=variables, stderr=file) as worker:
        try:
            wait_until(lambda: "worker_started" in log.read_text() or worker.poll() is not None)
            yield worker
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(CHILD_SECONDS) == 0, log.read_text()
        finally:
            worker.kill()


def run_outages(
    lab: Lab, broker: KafkaBroker | NatsServer, outages: int, seconds: float, seed: int, say: Callable[[str], None]
) -> None:
    """An AssertionError where something was lost or doubled, or the worker did not go on by itself."""
    run = OutageRun(lab, broker, seed)
    with run_worker(lab) as worker, run.producing():
        for number in range(outages):
            run.catch_up()
            run.stay_away(seconds, kill=number % 2 == 0)
            assert worker.poll() is None, "the worker ended"
            say(f"away for {seconds:.0f} s, everything read {run.catch_up():.1f} s after that")
            time.sleep(CALM_SECONDS)
    # What is sent last is read by the same worker's successor, which finds everything in the ledger.
    run.finish()
    run.check()
    ((failed,),) = lab.rows("SELECT count(*)::int FROM decant.loads WHERE status = 'failed'")
    model = run.model
    say(f"{model.messages:,} messages, {model.poison:,} of them poison; {failed} loads failed")
    say(f"{run.sent_again} batches were sent again")
