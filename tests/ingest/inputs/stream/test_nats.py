"""Streams of NATS JetStream: subjects, purges, a stream made anew, a server that is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.brokers import NatsServer
from tests.support.streams import MakeOrders, Orders, order


def fill(nats: NatsServer, orders: Orders, numbers: range, subject: str = "new") -> None:
    """Publishes orders on a subject of the stream."""
    nats.publish((f"{orders.topic}.{subject}", order(number)[1]) for number in numbers)


@pytest.fixture
def orders(nats: NatsServer, make_orders: MakeOrders) -> Iterator[Orders]:
    """A product that a stream feeds."""
    made = make_orders("nats")
    nats.add_stream(made.topic, [f"{made.topic}.>"])
    yield made
    nats.call("delete_stream", made.topic)


def test_a_stream_is_read_whole_and_then_only_what_is_new(nats: NatsServer, orders: Orders) -> None:
    assert orders.load().status == "unchanged"
    fill(nats, orders, range(1500))
    assert orders.load().outcome.inserted == 1500
    assert orders.load().status == "unchanged"
    fill(nats, orders, range(1500, 1510))
    assert orders.load().outcome.inserted == 10
    assert orders.position() == {"0": 1511}


def test_one_subject_of_a_stream_leaves_gaps_of_sequences(nats: NatsServer, make_orders: MakeOrders) -> None:
    orders = make_orders("nats", subject="*.good")
    nats.add_stream(orders.topic, [f"{orders.topic}.>"])
    fill(nats, orders, range(5), "good")
    fill(nats, orders, range(100, 1300), "bad")
    nats.publish([(f"{orders.topic}.good", b"{}"), (f"{orders.topic}.bad", b"{}")])
    report = orders.load()
    assert (report.outcome.raw, report.outcome.accepted) == (6, 5)
    assert [(file, line) for file, line, *_ in orders.rejects()] == [(f"{orders.topic}/0@1206", 1)]
    assert orders.load().status == "unchanged"


def test_purged_messages_are_a_gap_and_seek_is_the_way_out(nats: NatsServer, orders: Orders) -> None:
    fill(nats, orders, range(10))
    orders.load()
    fill(nats, orders, range(10, 30))
    nats.call("purge_stream", orders.topic, seq=21)
    report = orders.load()
    assert (report.status, report.error_code) == ("failed", "stream_gap")
    assert "offsets 11 to 20 of partition 0 are gone" in (report.error or "")
    assert orders.position() == {"0": 11}
    orders.seek("earliest")
    assert orders.load().outcome.inserted == 10
    assert len(orders.records()) == 20


def test_a_stream_made_anew_is_a_gap_however_long_it_is(nats: NatsServer, orders: Orders) -> None:
    fill(nats, orders, range(10))
    orders.load()
    nats.call("delete_stream", orders.topic)
    nats.add_stream(orders.topic, [f"{orders.topic}.>"])
    fill(nats, orders, range(100, 130))
    report = orders.load()
    assert report.error_code == "stream_gap"
    assert "was deleted and made again" in (report.error or "")


def test_with_skip_reading_goes_on_behind_the_gap(nats: NatsServer, make_orders: MakeOrders) -> None:
    orders = make_orders("nats", onGap="skip")
    nats.add_stream(orders.topic, [f"{orders.topic}.>"])
    fill(nats, orders, range(3))
    orders.load()
    fill(nats, orders, range(3, 9))
    nats.call("purge_stream", orders.topic, seq=7)
    report = orders.load()
    assert report.outcome.inserted == 3
    assert any("offsets 4 to 6" in note for note in report.notes)


@pytest.mark.slow
def test_a_server_that_is_away_is_said_and_comes_back(nats: NatsServer, orders: Orders) -> None:
    fill(nats, orders, range(3))
    orders.load()
    nats.kill()
    report = orders.load()
    assert (report.status, report.error_code) == ("failed", "source_unavailable")
    nats.start()
    fill(nats, orders, range(3, 6))
    assert orders.load().outcome.inserted == 3


def test_a_stream_that_does_not_exist_is_said(make_orders: MakeOrders) -> None:
    report = make_orders("nats").load()
    assert report.error_code == "source_missing"


@pytest.mark.slow
def test_a_moment_says_where_reading_begins(nats: NatsServer, make_orders: MakeOrders) -> None:
    orders = make_orders("nats", start="latest")
    nats.add_stream(orders.topic, [f"{orders.topic}.>"])
    fill(nats, orders, range(4))
    assert orders.load().status == "unchanged"
    fill(nats, orders, range(4, 6))
    assert orders.load().outcome.inserted == 2
    orders.seek("2020-01-01T00:00:00Z")
    assert orders.load().outcome.raw == 6
