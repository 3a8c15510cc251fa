"""How far a stream is behind: on the command line, in the API and in metrics; and a worker that catches up."""

from __future__ import annotations

import json

import pytest

from ingest.errors import SourceUnavailableError
from tests.support.brokers import NatsServer
from tests.support.command_line import run
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.streams import MakeOrders, Orders, order


@pytest.fixture
def orders(nats: NatsServer, make_orders: MakeOrders) -> Orders:
    """A product that a stream of ten messages feeds; six of them were read."""
    made = make_orders("nats", batch={"records": 6})
    nats.add_stream(made.topic, [f"{made.topic}.>"])
    nats.publish((f"{made.topic}.all", order(number)[1]) for number in range(10))
    made.load()
    return made


@pytest.mark.slow
def test_lag_is_the_same_wherever_it_is_asked_and_known_without_a_worker(nats: NatsServer, orders: Orders) -> None:
    ingest = {"DECANT_INGEST_DATABASE_URL": orders.lab.urls.ingest}
    (row,) = json.loads(run(orders.lab, "status", "--json", **ingest).stdout)
    assert (row["lag"]["records"], row["lag"]["seconds"], row["lag"]["error"]) == (4, None, None)
    assert row["lag"]["partitions"] == [{"partition": 0, "next": 7, "end": 11}]
    assert f"4 messages of {orders.topic} waiting" in run(orders.lab, "status", **ingest).stdout
    with orders.lab.serve() as client:
        (entry,) = client.get("/operations/status", headers=key_of(orders.lab, "ops:read")).json()["data"]
        assert (entry["lag"]["records"], entry["lag"]["topic"]) == (4, orders.topic)
        shown = client.get("/console", headers=key_of(orders.lab, "ops:read")).text
        assert f"4 messages of {orders.topic}" in shown
        labels = '{dataset="orders",major="1",product="orders"}'
        assert (
            f"decant_stream_lag_records{labels} 4.0"
            in client.get("/metrics", headers=key_of(orders.lab, "ops:read")).text
        )
        assert run(orders.lab, "worker", "--once", **ingest).returncode == 0
        (entry,) = client.get("/operations/status", headers=key_of(orders.lab, "ops:read")).json()["data"]
        assert (entry["lag"]["records"], entry["revision"]) == (0, 2)
        assert (
            f"decant_stream_lag_records{labels} 0.0"
            in client.get("/metrics", headers=key_of(orders.lab, "ops:read")).text
        )
    assert len(orders.records()) == 10
    assert f"every message of {orders.topic} is read" in run(orders.lab, "status", **ingest).stdout


@pytest.mark.slow
def test_a_broker_that_is_away_is_named_beside_the_last_measurement(nats: NatsServer, orders: Orders) -> None:
    ingest = {"DECANT_INGEST_DATABASE_URL": orders.lab.urls.ingest}
    run(orders.lab, "status", **ingest)
    nats.kill()
    try:
        shown = run(orders.lab, "status", **ingest)
    finally:
        nats.start()
    assert shown.returncode == 0
    assert "nats does not answer" in shown.stdout
    assert f"4 messages of {orders.topic} waiting" in shown.stdout


def test_a_load_that_waits_to_be_tried_again_goes_on_when_the_broker_is_back(
    nats: NatsServer, orders: Orders
) -> None:
    waiting = (
        "INSERT INTO decant.loads (dataset_id, kind, status, attempt, error_code, retry_at)"
        " VALUES (1, 'ingest', 'queued', 3, 'source_unavailable', now() + interval '1 hour') RETURNING id"
    )
    orders.lab.rows(waiting)
    due = "SELECT count(*)::int FROM decant.loads WHERE status = 'queued' AND retry_at <= now()"
    assert orders.waits()
    assert orders.lab.rows(due) == [(0,)], "a broker that was not away is no reason to hurry"
    nats.kill()
    try:
        with pytest.raises(SourceUnavailableError):
            orders.waits()
    finally:
        nats.start()
    assert orders.waits()
    assert orders.lab.rows(due) == [(1,)]


@pytest.mark.slow
def test_seek_is_on_record_and_refuses_what_it_cannot_do(orders: Orders) -> None:
    ingest = {"DECANT_INGEST_DATABASE_URL": orders.lab.urls.ingest}
    moved = run(orders.lab, "seek", "orders.orders", "earliest", **ingest)
    assert moved.stdout == "orders@1.orders: partition 0 goes on at offset 1 (was 7)\n"
    assert orders.lab.rows("SELECT operation, facts ->> 'to' FROM decant.audit_log") == [("seek", "earliest")]
    assert orders.load().outcome.raw == 6
    refused = run(orders.lab, "seek", "orders.orders", "tomorrow", **ingest)
    assert refused.returncode == 1
    assert "is not earliest, latest or a moment" in refused.stderr


def test_seek_is_for_streams(lab: Lab) -> None:
    refused = run(lab, "seek", "people.people", "latest", DECANT_INGEST_DATABASE_URL=lab.urls.ingest)
    assert "is not fed by a stream" in refused.stderr


@pytest.mark.slow
def test_a_key_is_erased_from_the_messages_that_lie_in_the_landing_zone(
    nats: NatsServer, make_orders: MakeOrders
) -> None:
    orders = make_orders("nats", format="debezium")
    nats.add_stream(orders.topic, [f"{orders.topic}.>"])
    rows = [{"id": 77_001, "amount": 424_242}, {"id": 2, "amount": 1}, {"id": 77_001, "amount": "424242 bad"}]
    nats.publish((f"{orders.topic}.all", json.dumps({"op": "c", "after": row}).encode()) for row in rows)
    orders.load()
    landing = orders.lab.landing
    assert any(b"424242" in file.read_bytes() for file in landing.rglob("*") if file.is_file())
    ingest = {"DECANT_INGEST_DATABASE_URL": orders.lab.urls.ingest}
    assert run(orders.lab, "erase", "orders.orders", "77001", "--yes", **ingest).returncode == 0
    assert [file for file in landing.rglob("*") if file.is_file() and b"424242" in file.read_bytes()] == []
    assert orders.records() == [(2, 1)]
