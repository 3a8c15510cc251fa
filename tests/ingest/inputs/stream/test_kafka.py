"""Topics of Kafka: every message once, whatever it holds and however the topic changes."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tests.support.brokers import KafkaBroker
from tests.support.streams import MakeOrders, Orders, order

POISON = [b"", b"   ", b"\xff\xfe\x00", b"[1]", b'{"id": 1', b"\x1f\x8b\x08", b"PK\x03\x04", b"null", b'{"id": "x"}']


@pytest.fixture
def orders(kafka: KafkaBroker, make_orders: MakeOrders) -> Orders:
    """A product that a topic of one partition feeds."""
    made = make_orders("kafka")
    kafka.add_topic(made.topic)
    return made


def test_a_topic_is_read_whole_and_then_only_what_is_new(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    orders = make_orders("kafka")
    kafka.add_topic(orders.topic, 3)
    kafka.produce(orders.topic, [order(number) for number in range(100)])
    assert orders.load().outcome.accepted == 100
    assert len(orders.records()) == 100
    assert orders.load().status == "unchanged"
    kafka.produce(orders.topic, [order(5, 7)])
    assert orders.load().outcome.updated == 1
    assert orders.records()[5] == (5, 7)
    assert sum(map(int, orders.position().values())) == 101


def test_poison_costs_nobody_else_anything(kafka: KafkaBroker, orders: Orders) -> None:
    kafka.produce(orders.topic, [("p", value) for value in POISON])
    kafka.produce(orders.topic, [order(1), ("t", None), order(2), ("n", b'{"id": 3,\n "amount": 4}\n')])
    report = orders.load()
    assert report.outcome.raw == len(POISON) + 4, report
    assert orders.records() == [(1, 1), (2, 1), (3, 4)]
    assert report.outcome.rejected == len(POISON) + 1
    places = [(file, line) for file, line, _, _ in orders.rejects()]
    # A tombstone is no deletion unless the contract says so: it is rejected, at its own offset.
    expected = [(f"{orders.topic}/0@0", line) for line in [*range(1, len(POISON) + 1), len(POISON) + 2]]
    assert places == expected
    counts = orders.counts()
    assert counts["raw"] == counts["accepted"] + counts["rejected"] + counts["duplicates"]


@pytest.mark.slow
def test_a_batch_ends_at_its_records_and_the_next_goes_on(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    orders = make_orders("kafka", batch={"records": 40})
    kafka.add_topic(orders.topic, 3)
    kafka.produce(orders.topic, [order(number) for number in range(100)])
    reports = orders.load_all()
    assert [report.outcome.raw for report in reports] == [40, 40, 20]
    assert len(orders.records()) == 100


@pytest.mark.slow
def test_a_topic_that_grows_loses_nothing(kafka: KafkaBroker, orders: Orders) -> None:
    kafka.produce(orders.topic, [order(number) for number in range(10)])
    orders.load()
    kafka.grow(orders.topic, 4)
    for partition in range(4):
        kafka.produce(orders.topic, [order(100 + partition)], partition=partition)
    orders.load_all()
    assert len(orders.records()) == 14
    assert set(orders.position()) == {"0", "1", "2", "3"}


def test_retention_that_overtakes_is_a_gap(kafka: KafkaBroker, orders: Orders) -> None:
    kafka.produce(orders.topic, [order(number) for number in range(10)])
    kafka.forget(orders.topic, {0: 4})
    assert orders.load().outcome.inserted == 6, "before the first load, nothing was lost"
    kafka.produce(orders.topic, [order(number) for number in range(10, 20)])
    kafka.forget(orders.topic, {0: 15})
    report = orders.load()
    assert report.error_code == "stream_gap"
    assert "offsets 10 to 14 of partition 0 are gone" in (report.error or "")
    orders.seek("latest")
    assert orders.load().status == "unchanged"
    kafka.produce(orders.topic, [order(99)])
    assert orders.load().outcome.inserted == 1


@pytest.mark.slow
def test_a_shorter_topic_of_the_same_name_is_a_gap(kafka: KafkaBroker, orders: Orders) -> None:
    kafka.produce(orders.topic, [order(number) for number in range(10)])
    orders.load()
    kafka.delete_topic(orders.topic)
    kafka.add_topic(orders.topic)
    kafka.produce(orders.topic, [order(50)])
    assert orders.load().error_code == "stream_gap"
    orders.seek("earliest")
    assert orders.load().outcome.inserted == 1


@pytest.mark.slow
def test_a_withheld_batch_leaves_the_position_where_it_was(kafka: KafkaBroker, make_orders: MakeOrders) -> None:
    orders = make_orders("kafka", gates={"maxRejected": 10})
    kafka.add_topic(orders.topic)
    kafka.produce(orders.topic, [order(1)])
    orders.load()
    kafka.produce(orders.topic, [order(2), ("x", b"{}")])
    assert orders.load().status == "withheld"
    assert (orders.position(), orders.records()) == ({"0": 1}, [(1, 1)])
    kafka.produce(orders.topic, [order(3)])
    assert not orders.waits(), "more messages behind a withheld batch change nothing"
    orders.publish_withheld()
    assert orders.position() == {"0": 3}
    assert orders.waits()
    assert orders.load().outcome.inserted == 1


def test_aborted_transactions_are_never_read(kafka: KafkaBroker, orders: Orders) -> None:
    producer = Producer({"bootstrap.servers": kafka.url, "transactional.id": orders.topic})
    producer.init_transactions(10)
    for number, end in ((1, producer.commit_transaction), (2, producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(orders.topic, key=str(number), value=order(number)[1])
        producer.flush(10)
        end(10)
    orders.load_all()
    assert orders.records() == [(1, 1)]
    assert not orders.waits()


def test_a_topic_that_does_not_exist_is_said(make_orders: MakeOrders) -> None:
    report = make_orders("kafka").load()
    assert report.error_code == "source_missing"
