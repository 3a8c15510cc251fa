"""Brokers that want TLS and a password: what reads and writes, and how a refusal is told."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pydantic import SecretStr

from catalog.model.sources import StreamSource
from ingest.delivery.topics import Topics
from ingest.errors import SourceError
from ingest.inputs.stream.clients import KEPT
from ingest.inputs.stream.kafka import KafkaClient, configure
from ingest.inputs.stream.messages import StreamClient
from ingest.inputs.stream.nats import NatsClient
from runtime.settings.event_brokers import EventBroker
from tests.support.brokers import NatsServer, Tansu, free_port
from tests.support.certificates import run_tls_proxy, write_certificate
from tests.support.streams import order

EVENT = b'{"id": "1", "type": "t", "source": "/s", "data": {"a": 1}}'
LOGIN = {"user": "ann", "password": "s3cret"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that nobody else vouches for, and its key."""
    return write_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def nats(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that speaks TLS alone, to one user."""
    trust = ssl.create_default_context(cafile=certificate[0])
    options = ["--tls", "--tlscert", str(certificate[0]), "--tlskey", str(certificate[1])]
    options += ["--user", LOGIN["user"], "--pass", LOGIN["password"]]
    server = NatsServer(tmp_path_factory.mktemp("nats"), *options, tls=trust, **LOGIN)
    yield server
    KEPT.close()
    server.stop()


def read_all(client: StreamClient) -> list[bytes | None]:
    """The values of all messages."""
    try:
        found = client.look()
        return [value for run in client.read(found.firsts, found.ends) for value in run.values]
    finally:
        client.close()


def test_a_server_with_tls_and_a_password_is_read_and_written(
    nats: NatsServer, certificate: tuple[Path, Path]
) -> None:
    nats.add_stream("secure", ["secure.>"])
    nats.publish([("secure.a", order(1)[1])])
    broker = EventBroker(
        kind="nats", hosts=nats.url, user="ann", password=SecretStr("s3cret"), ca=str(certificate[0])
    )
    topics = Topics({"bus": broker})
    try:
        assert topics.send("topic:bus/secure.b", EVENT).error is None
    finally:
        topics.close()
    source = StreamSource("nats", "bus", nats.url, "secure", ca=str(certificate[0]), **LOGIN)
    assert read_all(NatsClient(source)) == [order(1)[1], b'{"a": 1}']
    gc.collect()  # a socket that was left open is told of here


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, "denies access"),
        ({"user": None, "password": None}, "denies access"),
        ({"ca": None}, "does not answer .*certificate"),
        ({"scheme": "nats"}, "does not answer"),
    ],
)
def test_a_server_that_refuses_is_said(
    nats: NatsServer, certificate: tuple[Path, Path], changes: dict[str, Any], words: str
) -> None:
    hosts = nats.url.replace("tls", changes.pop("scheme", "tls"))
    source = StreamSource("nats", "bus", hosts, "secure", ca=str(certificate[0]), **LOGIN)
    with pytest.raises(SourceError, match=words) as raised:
        read_all(NatsClient(replace(source, **changes)))
    assert "s3cret" not in str(raised.value)
    del raised
    gc.collect()  # a socket that was left open is told of here


@pytest.fixture(scope="module")
def kafka(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker that is reached over TLS: a proxy ends it, at the address that the broker tells."""
    port = free_port()
    broker = Tansu(tmp_path_factory.mktemp("kafka"), advertised=port)
    try:
        with run_tls_proxy(port, *certificate, broker.port):
            yield f"127.0.0.1:{port}"
    finally:
        broker.stop()


def test_a_broker_of_kafka_with_tls_is_read_and_written(kafka: str, certificate: tuple[Path, Path]) -> None:
    source = StreamSource("kafka", "bus", kafka, "secure", tls=True, ca=str(certificate[0]))
    add_topic(source)
    topics = Topics({"bus": EventBroker(kind="kafka", hosts=kafka, tls=True, ca=str(certificate[0]))})
    try:
        assert topics.send("topic:bus/secure", EVENT).error is None
    finally:
        topics.close()
    assert read_all(KafkaClient(source)) == [b'{"a": 1}']


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ca": None}, "denies access .*certificate verify failed"),
        ({"tls": False}, "does not answer"),
    ],
)
def test_a_broker_of_kafka_whose_tls_does_not_fit_is_said(
    kafka: str, certificate: tuple[Path, Path], changes: dict[str, Any], words: str
) -> None:
    source = StreamSource("kafka", "bus", kafka, "secure", tls=True, ca=str(certificate[0]))
    with pytest.raises(SourceError, match=words):
        read_all(KafkaClient(replace(source, **changes)))


@pytest.mark.slow
def test_a_broker_of_kafka_that_does_not_know_the_user_is_said(tmp_path: Path) -> None:
    """The whole exchange of SCRAM: no broker that can be had here knows a user."""
    broker = Tansu(tmp_path, "--authentication")
    try:
        hosts = f"127.0.0.1:{broker.port}"
        source = StreamSource("kafka", "bus", hosts, "secure", mechanism="SCRAM-SHA-512", **LOGIN)
        with pytest.raises(SourceError, match=r"denies access .*unknown-user") as raised:
            read_all(KafkaClient(source))
    finally:
        broker.stop()
    assert "s3cret" not in str(raised.value)


def test_a_topic_made_anew_has_another_id_however_long_it_is(tmp_path: Path) -> None:
    broker = Tansu(tmp_path)
    try:
        source = StreamSource("kafka", "bus", f"127.0.0.1:{broker.port}", "secure")
        found = []
        for _ in range(2):
            add_topic(source)
            client = KafkaClient(source)
            found.append(client.look().id)
            client.close()
            admin = AdminClient(configure(source))
            for future in admin.delete_topics(["secure"]).values():
                future.result(10)
    finally:
        broker.stop()
    assert None not in found
    assert found[0] != found[1]


def add_topic(source: StreamSource) -> None:
    """Makes the topic."""
    admin = AdminClient(configure(source))
    for future in admin.create_topics([NewTopic(source.topic, num_partitions=1)]).values():
        future.result(10)
