"""Events sent to topics of a broker: CloudEvents in binary mode, once the broker has acknowledged them.

On NATS the event's id is its `Nats-Msg-Id`, by which the server drops repeats; on Kafka it is the header `ce_id`, and
the key is the dataset, so that the events of a dataset keep their order.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from catalog.model.sources import StreamSource
from catalog.model.webhook_address import read_topic
from ingest.delivery.receiver import LIMIT_SECONDS, SHOWN_CHARACTERS, Reply
from runtime.plain_text import plain
from runtime.settings.event_brokers import EventBroker

CONTENT = ("data", "datacontenttype")  # members of an event that are no attributes


class Producer(Protocol):
    """A connection to a broker."""

    def send(self, topic: str, key: str, headers: Mapping[str, str], body: bytes) -> str | None:
        """Why a message was not acknowledged; None where it was."""

    def close(self) -> None:
        """Ends the connection."""


class Topics:
    """Sends events to the topics of the brokers that the operator names; a connection is kept for each broker."""

    def __init__(self, brokers: Mapping[str, EventBroker]) -> None:
        self.brokers = brokers
        self.producers: dict[str, Producer] = {}
        self.lock = threading.Lock()

    def send(self, address: str, body: bytes) -> Reply:
        """How the broker took the event, which comes as JSON; never an exception for what it does."""
        found = read_topic(address)
        broker = self.brokers.get(found[0]) if found else None
        if found is None or broker is None:
            return Reply(None, "DECANT_EVENT_BROKERS of this worker has no such broker")
        event = json.loads(body)
        attributes = {name: str(value) for name, value in event.items() if name not in CONTENT}
        data = json.dumps(event["data"], ensure_ascii=False).encode()
        with self.lock:  # one message at a time: the clients of NATS belong to one thread
            try:
                producer = self.producers.get(found[0]) or self.open(found[0], broker)
                error = producer.send(found[1], event["source"], attributes, data)
            except ImportError:
                return Reply(None, f"a library is missing: pip install 'decant-data[{broker.kind}]'")
            except Exception as problem:
                self.drop(found[0])
                return Reply(None, f"{found[0]} does not answer: {plain(str(problem), SHOWN_CHARACTERS)}")
        return Reply(None, None if error is None else plain(error, SHOWN_CHARACTERS))

    def open(self, name: str, broker: EventBroker) -> Producer:
        """A new connection."""
        producer: Producer = KafkaProducer(broker) if broker.kind == "kafka" else NatsProducer(broker)
        self.producers[name] = producer
        return producer

    def drop(self, name: str) -> None:
        """Ends a connection that failed."""
        if (producer := self.producers.pop(name, None)) is not None:
            with suppress(Exception):
                producer.close()

    def close(self) -> None:
        """Ends every connection."""
        with self.lock:
            for name in list(self.producers):
                self.drop(name)


class KafkaProducer:
    """Messages to topics of Kafka."""

    def __init__(self, broker: EventBroker) -> None:
        from confluent_kafka import Producer as Client

        from ingest.inputs.stream.kafka import SILENT, configure

        limits = {"message.timeout.ms": int(LIMIT_SECONDS * 1000), "enable.idempotence": True, "linger.ms": 0}
        self.client = Client(configure(as_source(broker)) | limits | {"logger": SILENT})

    def send(self, topic: str, key: str, headers: Mapping[str, str], body: bytes) -> str | None:
        """Why a message was not acknowledged; None where it was."""
        outcomes: list[Any] = []
        fields = {f"ce_{name}": text.encode() for name, text in headers.items()}
        fields["content-type"] = b"application/json"
        self.client.produce(
            topic, body, key, headers=list(fields.items()), on_delivery=lambda error, _: outcomes.append(error)
        )
        self.client.flush(LIMIT_SECONDS)
        if not outcomes:
            return f"no answer within {LIMIT_SECONDS:.0f} seconds"
        return None if outcomes[0] is None else str(outcomes[0].str())

    def close(self) -> None:
        """Drops what was not sent."""
        self.client.purge()
        self.client.flush(1)


class NatsProducer:
    """Messages to subjects that streams of JetStream keep."""

    def __init__(self, broker: EventBroker) -> None:
        from ingest.inputs.stream.nats import NatsClient

        self.client = NatsClient(as_source(broker))

    def send(self, topic: str, key: str, headers: Mapping[str, str], body: bytes) -> str | None:
        """Why a message was not acknowledged; None where it was."""
        fields = {f"ce-{name}": text for name, text in headers.items()}
        fields |= {"Nats-Msg-Id": headers["id"], "Content-Type": "application/json"}
        self.client.publish(topic, body, fields, LIMIT_SECONDS)
        return None

    def close(self) -> None:
        """Ends the connection."""
        self.client.close()


def as_source(broker: EventBroker) -> StreamSource:
    """The broker as the inputs' clients take it."""
    return StreamSource(
        broker=broker.kind,
        server=broker.kind,
        hosts=broker.hosts,
        topic="",
        user=broker.user,
        password=broker.password.get_secret_value() if broker.password is not None else None,
        tls=broker.tls,
        mechanism=broker.mechanism,
        ca=broker.ca,
    )
