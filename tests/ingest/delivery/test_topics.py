"""Events sent to topics of real brokers: in order, acknowledged, once the broker is back; for operators only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Consumer

from runtime.settings.settings import load_settings
from tests.support.brokers import KafkaBroker, NatsServer
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.webhooks import Sender

TOPIC = "decant.events"
DAY = timedelta(days=1)


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    server.add_stream("EVENTS", [TOPIC])
    yield server
    server.stop()


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaBroker]:
    broker = KafkaBroker(tmp_path / "kafka")
    broker.add_topic(TOPIC)
    yield broker
    broker.stop()


def read_nats(server: NatsServer) -> list[tuple[dict[str, str], dict[str, object]]]:
    """The headers and data of each message."""
    last = server.call("stream_info", "EVENTS").state.last_seq
    found = [server.call("get_msg", "EVENTS", seq=number) for number in range(1, last + 1)]
    return [(message.headers, json.loads(message.data)) for message in found]


@pytest.mark.slow
def test_events_reach_a_stream_of_nats_once_and_in_order(make_lab: Callable[..., Lab], nats: NatsServer) -> None:
    lab = make_lab(event_brokers={"bus": {"kind": "nats", "hosts": nats.url}})
    sender = Sender(lab)
    subscription, _ = sender.subscribe(f"topic:bus/{TOPIC}")
    sender.publish(2)
    assert sender.send() == 2
    nats.kill()
    sender.publish()
    assert sender.send() == 1
    assert sender.log(subscription)[-1]["delivered"] is False
    nats.start()
    assert sender.send(DAY) == 1
    messages = read_nats(nats)
    assert [data["revision"] for _, data in messages] == [1, 2, 3]
    assert {headers["ce-type"] for headers, _ in messages} == {"io.decant.revision.published"}
    assert len({headers["Nats-Msg-Id"] for headers, _ in messages}) == 3
    sender.deliverer.topics.close()


def test_events_reach_a_topic_of_kafka_as_cloud_events(make_lab: Callable[..., Lab], kafka: KafkaBroker) -> None:
    lab = make_lab(event_brokers={"bus": {"kind": "kafka", "hosts": kafka.url}})
    sender = Sender(lab)
    sender.subscribe(f"topic:bus/{TOPIC}")
    sender.publish(2)
    assert sender.send() == 2
    sender.deliverer.topics.close()
    consumer = Consumer({"bootstrap.servers": kafka.url, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    found = consumer.consume(2, 20)
    consumer.close()
    events = []
    for message in found:
        headers = dict(message.headers() or ())
        events.append(from_binary(KafkaMessage(headers, message.key(), message.value()), JSONFormat()))
        assert message.key() == b"/data/people/v1/people"
    assert [event.get_data()["revision"] for event in events] == [1, 2]
    assert {event.get_type() for event in events} == {"io.decant.revision.published"}


def test_topics_are_for_operators_and_for_brokers_that_are_named(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(event_brokers={"bus": {"kind": "nats", "hosts": "nats://127.0.0.1:1"}})
    with lab.serve() as client:

        def ask(address: str, *scopes: str) -> int:
            wanted = {"product": "people", "address": address}
            return client.post("/subscriptions", json=wanted, headers=key_of(lab, *scopes)).status_code

        assert ask("topic:bus/a.b", "people:read") == 403
        assert ask("topic:other/a.b", "people:read", "ops:write") == 422
        assert ask("topic:bus/a b", "people:read", "ops:write") == 422
        assert ask("topic:bus/a.b", "people:read", "ops:write") == 201


def test_brokers_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_EVENT_BROKERS", '{"bus": {"kind": "kafka", "hosts": "a:9092", "password": "secret"}}')
    (broker,) = load_settings().event_brokers.values()
    assert (broker.kind, broker.hosts) == ("kafka", "a:9092")
    assert "secret" not in repr(broker)
