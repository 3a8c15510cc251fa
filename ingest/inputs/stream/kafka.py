"""Kafka by librdkafka: one consumer without a group, which is told where to begin for each batch.

`seek` would lose messages that were fetched before it, so partitions are assigned anew. A message without a value
counts as false in Python: none is ever tested by its truth.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from catalog.model.sources import StreamSource
from ingest.errors import SourceError, SourceMissingError, SourceUnavailableError
from ingest.inputs.stream.messages import Message, Offsets, Run, Span, StreamGapError, StreamState
from runtime.plain_text import plain

ASK_SECONDS = 8.0  # for one answer of the broker
SILENT_SECONDS = 10.0  # without a message, in the middle of a batch
POLL_SECONDS = 0.5
SHOWN_CHARACTERS = 200  # of what the library says
MESSAGES_AT_ONCE = 1_000
EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
NO_ID = {"", "AAAAAAAAAAAAAAAAAAAAAA"}  # what brokers before 2.8 give
REFUSED = {
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
}  # fmt: skip
MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
OUT_OF_RANGE = {KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET}
Answer = TypeVar("Answer")


class KafkaClient:
    """A consumer and an administrative client of one topic."""

    def __init__(self, source: StreamSource) -> None:
        self.source = source
        self.topic = source.topic
        self.problems: list[KafkaError] = []  # of connections, since something was answered, the last last
        common = configure(source) | {"error_cb": self.note_problem, "logger": SILENT}
        self.admin = AdminClient(common)
        reading = {
            "group.id": "decant",  # asked for by the library; nothing joins it, and nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 65_536,
        }
        self.consumer = Consumer(common | reading)

    def look(self) -> StreamState:
        """What the topic holds now, up to the last stable offset."""
        described = self.ask(self.admin.describe_topics(TopicCollection([self.topic]), request_timeout=ASK_SECONDS))
        topic = described[self.topic]
        places = [TopicPartition(self.topic, partition.id) for partition in topic.partitions]
        firsts = self.list_offsets(places, EARLIEST)
        ends = self.list_offsets(places, LATEST)
        id_ = str(topic.topic_id) if topic.topic_id is not None else ""
        spans = {partition: Span(firsts[partition], ends[partition]) for partition in sorted(ends)}
        return StreamState(None if id_ in NO_ID else id_, spans)

    def find(self, moment: datetime) -> dict[int, int]:
        """The first offset of each partition whose message is not older; none of a partition that has none."""
        described = self.ask(self.admin.describe_topics(TopicCollection([self.topic]), request_timeout=ASK_SECONDS))
        places = [TopicPartition(self.topic, partition.id) for partition in described[self.topic].partitions]
        found = self.list_offsets(places, OffsetSpec.for_timestamp(int(moment.timestamp() * 1000)))
        return {partition: offset for partition, offset in found.items() if offset >= 0}

    def list_offsets(self, places: list[TopicPartition], which: OffsetSpec) -> dict[int, int]:
        """One offset of each partition, as readers of committed messages see it."""
        wanted = dict.fromkeys(places, which)
        futures = self.admin.list_offsets(
            wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ASK_SECONDS
        )
        return {place.partition: int(found.offset) for place, found in self.ask(futures).items()}

    def ask(self, futures: Mapping[Any, Future[Answer]]) -> dict[Any, Answer]:
        """The broker's answers; SourceError where there is none."""
        try:
            answers = {key: future.result(ASK_SECONDS + 1) for key, future in futures.items()}
        except KafkaException as error:
            self.admin.poll(0)  # what it said of its connections
            raise self.explain(error.args[0]) from None
        except TimeoutError:
            self.admin.poll(0)
            raise self.unreachable() from None
        self.problems.clear()
        return answers

    def read(self, starts: Offsets, ends: Offsets) -> Generator[Run]:
        """The committed messages between the offsets, some at a time, of each partition in its order."""
        left = {partition: end for partition, end in ends.items() if end > starts[partition]}
        self.consumer.assign([TopicPartition(self.topic, partition, starts[partition]) for partition in left])
        heard_at = time.monotonic()
        try:
            while left:
                found = self.receive()
                if found:
                    heard_at = time.monotonic()
                for run in make_runs(found):
                    end = left.get(run.partition, 0)
                    if (wanted := run.until(end)).offsets:
                        yield wanted
                    if run.offsets[-1] + 1 >= end:
                        left.pop(run.partition, None)
                for event in found:
                    if (error := event.error()) is not None:
                        self.check(error, event.partition())
                        left.pop(event.partition() or 0, None)  # its end: what follows came later
                if time.monotonic() - heard_at > SILENT_SECONDS:
                    raise self.unreachable()
        finally:
            self.consumer.unassign()

    def receive(self) -> list[KafkaMessage]:
        """The messages that have come; waits for the first of them a little."""
        first = self.consumer.poll(POLL_SECONDS)
        return [] if first is None else [first, *self.consumer.consume(MESSAGES_AT_ONCE, 0)]

    def check(self, error: KafkaError, partition: int | None) -> None:
        """Raises what an event says that is no message, unless it is the end of a partition."""
        if error.code() == KafkaError._PARTITION_EOF:
            return
        if error.code() in OUT_OF_RANGE:
            raise StreamGapError(
                f"Partition {partition} of {self.topic} lost messages while they were read."
                " `decant seek` says where reading goes on."
            )
        raise self.explain(error)

    def explain(self, error: KafkaError) -> SourceError:
        """What the library's error means here."""
        if error.code() in MISSING:
            return SourceMissingError(f"The topic {self.topic!r} does not exist at {self.source.server}.")
        # Without a connection an answer is only late; why there is none was said beside.
        refusals = [each for each in (error, *reversed(self.problems)) if each.code() in REFUSED]
        if refusals:
            said = plain(refusals[0].str(), SHOWN_CHARACTERS)
            return SourceError(f"{self.source.server} denies access to {self.topic!r}: {said}.")
        return self.unreachable(error.str())

    def unreachable(self, said: str = "") -> SourceUnavailableError:
        """The error of a broker that does not answer."""
        reason = plain(self.problems[-1].str() if self.problems else said, SHOWN_CHARACTERS)
        detail = f" ({reason})" if reason else ""
        return SourceUnavailableError(f"{self.source.server} does not answer{detail}.")

    def note_problem(self, error: KafkaError) -> None:
        """Remembers what the library says of its connections."""
        self.problems[:] = [*self.problems[-9:], error]

    def close(self) -> None:
        """Closes the connection."""
        self.consumer.close()


class Silent:
    """A logger that says nothing: problems of connections come by a callback."""

    def log(self, *args: object, **more: object) -> None:
        """Nothing."""


SILENT = Silent()


def configure(source: StreamSource) -> dict[str, Any]:
    """The library's settings for a broker."""
    secured = {(False, False): "plaintext", (False, True): "ssl", (True, False): "sasl_plaintext"}
    settings: dict[str, Any] = {
        "bootstrap.servers": source.hosts,
        "client.id": "decant",
        "security.protocol": secured.get((source.user is not None, source.tls), "sasl_ssl"),
        "socket.connection.setup.timeout.ms": 5_000,
        "reconnect.backoff.max.ms": 2_000,
    }
    if source.user is not None:
        settings |= {
            "sasl.mechanism": source.mechanism,
            "sasl.username": source.user,
            "sasl.password": source.password or "",
        }
    if source.ca is not None:
        settings["ssl.ca.location"] = source.ca
    return settings


def make_runs(found: Iterable[KafkaMessage]) -> Iterator[Run]:
    """The messages among what has come, each partition's in their order."""
    read: Any = KafkaMessage  # every message that is no error has an offset and a partition
    messages = [each for each in found if each.error() is None]
    for partition, group in groupby(messages, read.partition):
        some = list(group)
        yield Run(partition, list(map(read.offset, some)), list(map(read.value, some)), partial(to_message, some))


def to_message(some: Sequence[KafkaMessage], index: int) -> Message:
    """One of some messages, with all that it says of itself."""
    found: Any = some[index]
    kind, milliseconds = found.timestamp()
    return Message(
        found.partition(),
        found.offset(),
        found.key(),
        found.value(),
        milliseconds if kind else None,
        found.headers() or (),
    )
