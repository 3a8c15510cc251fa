"""The input of a dataset that a stream feeds, as the contract says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.model.dataset import Deletions
from catalog.model.sources import BatchLimits, StreamSource
from runtime.errors import ContractError
from tests.catalog.inputs.test_inputs import read

KAFKA = "type: kafka, host: 'a:9092,b:9092', format: json"
NATS = "type: custom, customProperties: [{property: kind, value: nats}, {property: url, value: 'nats://a:4222'}]"


def kafka_with(name: str, value: str) -> str:
    """A server of Kafka with a custom property."""
    return f"type: kafka, host: 'a:9092', format: json, customProperties: [{{property: {name}, value: {value}}}]"


def test_a_topic_is_read_from_its_beginning_unless_told(tmp_path: Path) -> None:
    source = read(tmp_path, KAFKA, "topic: orders, mode: upsert")
    assert (source.kind, source.file_format.format, source.watch) == ("stream", "ndjson", True)
    assert source.source == StreamSource("kafka", "here", "a:9092,b:9092", "orders")
    assert source.deletions is None


def test_every_key_has_its_place(tmp_path: Path) -> None:
    words = (
        "stream: ORDERS, subject: 'orders.>', mode: upsert, start: 2026-01-31T01:00:00+01:00, key: k,"
        " onGap: skip, batch: {records: 5, bytes: 6, seconds: 7}, deletes: tombstones"
    )
    source = read(tmp_path, NATS, words)
    assert source.source == StreamSource(
        "nats", "here", "nats://a:4222", "ORDERS", "orders.>", "2026-01-31T00:00:00+00:00", "k", "skip",
        BatchLimits(5, 6, 7),
    )  # fmt: skip
    assert source.deletions == Deletions(marked=True)


def test_variables_stay_as_they_are_written(tmp_path: Path) -> None:
    server = (
        "type: kafka, host: '${HOSTS}', format: json, customProperties: [{property: user, value: me},"
        " {property: password, value: '${SECRET}'}, {property: tls, value: true}]"
    )
    source = read(tmp_path, server, "topic: t, mode: append").source
    assert isinstance(source, StreamSource)
    assert (source.hosts, source.password, source.tls) == ("${HOSTS}", "${SECRET}", True)


@pytest.mark.parametrize(
    ("server", "words", "says"),
    [
        (KAFKA, "topic: t", "input.mode: 'snapshot' would delete all"),
        (KAFKA, "mode: upsert", "input.topic: must be the name of a topic"),
        (KAFKA, "topic: 'a b', mode: upsert", "input.topic: must be the name of a topic"),
        (KAFKA, "topic: t, mode: upsert, stream: s", "input.stream: does not apply to kafka"),
        (KAFKA, "topic: t, mode: upsert, path: a.csv", "input.path: does not apply to kafka"),
        (KAFKA, "topic: t, mode: upsert, watch: true", "input.watch: does not apply to kafka"),
        (KAFKA, "topic: t, mode: upsert, format: parquet", "input.format: 'parquet' is not supported for a stream"),
        (KAFKA, "topic: t, mode: upsert, format: csv", "input.columns: must be the names of the columns"),
        (KAFKA, "topic: t, mode: upsert, format: avro", "avro needs the custom property registry"),
        (KAFKA, "topic: t, mode: append, format: debezium", "needs mode upsert"),
        (KAFKA, "topic: t, mode: append, deletes: tombstones", "input.deletes: needs mode upsert"),
        (KAFKA, "topic: t, mode: upsert, start: soon", "input.start: must be earliest, latest"),
        (KAFKA, "topic: t, mode: upsert, start: '2026-01-31T00:00:00'", "input.start: must be earliest, latest"),
        (KAFKA, "topic: t, mode: upsert, onGap: ignore", "input.onGap: 'ignore' is not one of fail, skip"),
        (KAFKA, "topic: t, mode: upsert, batch: 5", "input.batch: must be a mapping of"),
        (KAFKA, "topic: t, mode: upsert, batch: {records: 0}", "input.batch.records: must be a number"),
        (KAFKA, "topic: t, mode: upsert, batch: {seconds: 3600}", "input.batch.seconds: must be from 0.1"),
        (kafka_with("password", "hunter2"), "topic: t, mode: upsert", "must not contain a password; use"),
        (kafka_with("token", "'${T}'"), "topic: t, mode: upsert", "token does not apply to kafka"),
        (kafka_with("tls", "'yes'"), "topic: t, mode: upsert", "tls must be true or false"),
        (kafka_with("mechanism", "MAGIC"), "topic: t, mode: upsert", "input.mechanism: 'MAGIC' is not one of"),
        ("type: kafka, host: 'http://a', format: json", "topic: t, mode: upsert", "needs host host:port"),
        (NATS, "stream: S, topic: t, mode: upsert", "input.topic: does not apply to nats"),
        (NATS, "stream: 'a.b', mode: upsert", "input.stream: must be the name of a stream"),
        (NATS, "stream: S, subject: 'a b', mode: upsert", "input.subject: 'a b' is not valid"),
        (NATS.replace("nats://a", "http://a"), "stream: S, mode: upsert", "custom property url nats://host:port"),
        (NATS.replace("value: nats}", "value: mqtt}"), "stream: S, mode: upsert", "a server of type 'mqtt'"),
        ("type: local, path: .", "path: a.csv, topic: t", "input.topic: does not apply to a server of type local"),
    ],
)  # fmt: skip
def test_what_a_stream_cannot_be_is_refused(tmp_path: Path, server: str, words: str, says: str) -> None:
    with pytest.raises(ContractError, match=says) as refused:
        read(tmp_path, server, words)
    assert "hunter2" not in str(refused.value)
