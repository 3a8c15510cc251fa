"""What messages hold: CloudEvents, changes of a database, delimited lines, Avro; keys, headers and deletions."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro
import pytest

from ingest.inputs.stream.avro import make_decoder
from tests.support.brokers import KafkaBroker
from tests.support.streams import MakeOrders, order

SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "int"}, {"name": "amount", "type": ["null", "long", "double"]}],
}
SCHEMAS = {5: json.dumps(SCHEMA), 7: 'syntax = "proto3"; message Order {}', 8: '{"type": "object"}'}


def change(op: str, before: Any = None, after: Any = None) -> bytes:
    """A change as Debezium writes it."""
    return json.dumps({"before": before, "after": after, "op": op, "ts_ms": 1}).encode()


def test_a_tombstone_deletes_its_key_and_a_record_behind_it_brings_it_back(
    kafka: KafkaBroker, make_orders: MakeOrders
) -> None:
    orders = make_orders("kafka", deletes="tombstones")
    kafka.add_topic(orders.topic)
    kafka.produce(orders.topic, [order(number) for number in range(5)])
    orders.load()
    more = [("1", None), ("2", None), order(2, 9), ("77", None), ("x", None), ('{"id": 3}', None)]
    kafka.produce(orders.topic, more)
    outcome = orders.load().outcome
    assert orders.records() == [(0, 1), (2, 9), (4, 1)]
    assert (outcome.deleted, outcome.updated, outcome.rejected, outcome.duplicates) == (2, 1, 1, 1)
    assert outcome.raw == outcome.accepted + outcome.rejected + outcome.duplicates
    assert outcome.accepted == outcome.inserted + outcome.updated + outcome.deleted + outcome.unchanged
    assert orders.lab.rows("SELECT id FROM orders_v1.orders_history ORDER BY id") == [(1,), (2,), (3,)]


@pytest.mark.slow
def test_a_tombstone_wins_over_whatever_order_value_came_before(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    orders = make_orders("kafka", deletes="tombstones", orderBy="amount")
    kafka.add_topic(orders.topic)
    kafka.produce(orders.topic, [order(1, 10), order(2, 10), order(3, 10)])
    orders.load()
    # What stands behind a tombstone is newer than all before it; what only has a smaller value is older.
    kafka.produce(orders.topic, [order(1, 20), ("1", None), order(2, 30), ("2", None), order(2, 3), order(3, 5)])
    orders.load()
    assert orders.records() == [(2, 3), (3, 10)]


def test_changes_of_a_database_write_and_delete(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    orders = make_orders("kafka", format="debezium")
    kafka.add_topic(orders.topic)
    row = {"id": 1, "amount": 5}
    enveloped = json.dumps({"schema": {}, "payload": {"op": "r", "before": None, "after": {"id": 4, "amount": 4}}})
    kafka.produce(
        orders.topic,
        [
            ("1", change("c", after=row)),
            ("1", change("u", row, row | {"amount": 6})),
            ("2", change("c", after={"id": 2, "amount": 2})),
            ("2", change("d", before={"id": 2, "amount": 2})),
            ('{"id": 2}', None),
            ("3", change("u", after={"id": 3, "amount": "__debezium_unavailable_value"})),
            ("t", change("t")),
            ("4", enveloped.encode()),
            ("5", b"nonsense"),
        ],
    )
    outcome = orders.load().outcome
    assert orders.records() == [(1, 6), (4, 4)]
    assert (outcome.raw, outcome.rejected) == (9, 3)
    reasons = [message for *_, message in orders.rejects()]
    assert "REPLICA IDENTITY FULL" in reasons[0]
    assert "no change of a row" in reasons[1]
    kafka.produce(orders.topic, [("1", change("d", before={"id": 1}))])
    assert orders.load().outcome.deleted == 1


@pytest.mark.sampled
@pytest.mark.parametrize("binary", [True, False])
def test_cloudevents_give_their_data_and_their_attributes(
    kafka: KafkaBroker, make_orders: MakeOrders, binary: bool
) -> None:
    more = "      - {name: type, logicalType: string, transformLogic: _type}\n"
    orders = make_orders("kafka", more, format="cloudevents")
    kafka.add_topic(orders.topic)
    data = {"id": 7, "amount": 70}
    attributes = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "placed"}
    if binary:
        headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        kafka.produce(orders.topic, [("7", json.dumps(data, indent=1).encode())], headers=headers)
    else:
        kafka.produce(orders.topic, [("7", json.dumps(attributes | {"data": data}).encode())])
    kafka.produce(orders.topic, [("8", b'{"id": 8}')])
    outcome = orders.load().outcome
    assert orders.records("id, amount, type") == [(7, 70, "placed")]
    assert outcome.rejected == 1


def test_delimited_lines_have_the_columns_of_the_contract(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    orders = make_orders("kafka", format="csv", columns=["id", "amount"])
    kafka.add_topic(orders.topic)
    values = [b"1,2", b"3,4\r\n", b"5", b"", b"PK\x03\x04", b"\xff,1", b"6,7\n8,9", b'"9","10"']
    kafka.produce(orders.topic, [(None, value) for value in values])
    outcome = orders.load().outcome
    assert orders.records() == [(1, 2), (3, 4), (9, 10)]
    assert (outcome.raw, outcome.rejected) == (8, 5)


def test_a_contract_reads_what_a_message_says_of_itself(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    names = ("_key", "_partition", "_offset", "_timestamp")
    kinds = ("string", "integer", "integer", "timestamp")
    more = "".join(
        f"      - {{name: m{name}, logicalType: {kind}, transformLogic: {name}}}\n"
        for name, kind in zip(names, kinds, strict=True)
    )
    orders = make_orders("kafka", more)
    kafka.add_topic(orders.topic, 2)
    kafka.produce(
        orders.topic, [("k", b'{"id": 1}'), ("k", b" {}"), ("k", b'{"_key": "spoofed", "id": 2}')], partition=1
    )
    orders.load()
    assert orders.records("id, m_key, m_partition, m_offset, m_timestamp IS NULL") == [(1, "k", 1, 0, False)]
    assert len(orders.rejects()) == 2


def test_a_key_is_a_column_where_the_contract_says_so(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    orders = make_orders("kafka", key="id", deletes="tombstones")
    kafka.add_topic(orders.topic)
    kafka.produce(orders.topic, [("1", b'{"amount": 5}'), ("2", b"{}"), ("1", None), ("3", b'{"amount": 1}')])
    orders.load()
    assert orders.records() == [(2, None), (3, 1)]


@pytest.fixture
def registry() -> Iterator[str]:
    """A schema registry that knows a schema of Avro, number 5, and two of others."""

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path.removeprefix("/schemas/ids/"))
            status = 422 if number > 1 << 31 else 200 if number in SCHEMAS else 404
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({"schema": SCHEMAS[number]} if status == 200 else {}).encode())

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_avro_is_decoded_by_the_schema_of_its_writer(
    kafka: KafkaBroker, make_orders: MakeOrders, registry: str
) -> None:
    orders = make_orders("kafka", format="avro", registry=registry)
    kafka.add_topic(orders.topic)
    values = [pack(5, 3_000_000_000), *(pack(number, 1) for number in (6, 7, 8, (1 << 32) - 1))]
    values += [pack(5, float("nan")), pack(5, float("-inf")), pack(5, 1)[:-1], pack(5, 1) + b"x"]
    values += [b"\0" * 4, b"{}", b""]
    kafka.produce(orders.topic, [(None, value) for value in values])
    report = orders.load()
    assert report.status == "published", report.error
    assert orders.records() == [(1, 3_000_000_000)]
    assert (report.outcome.raw, report.outcome.rejected) == (len(values), len(values) - 1)


def test_a_schema_that_the_registry_learns_later_is_asked_for_by_the_next_batch(
    monkeypatch: pytest.MonkeyPatch, registry: str
) -> None:
    value = pack(9, 2)
    decode = make_decoder(registry)
    undecoded = decode(value)
    assert undecoded.startswith(b'"')
    monkeypatch.setitem(SCHEMAS, 9, SCHEMAS[5])
    assert decode(value) == undecoded, "once for each batch"
    assert make_decoder(registry)(value) == b'{"id":1,"amount":2}'
    monkeypatch.delitem(SCHEMAS, 9)
    assert make_decoder(registry)(value) == b'{"id":1,"amount":2}', "what is known stays"


def pack(number: int, amount: float) -> bytes:
    """A value that names a schema by number."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(SCHEMA), {"id": 1, "amount": amount})
    return b"\0" + number.to_bytes(4, "big") + body.getvalue()
