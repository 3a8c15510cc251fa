"""A broker that goes away, and the source of a replicated table: told once, in every place, until they answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from ingest.errors import IngestError
from tests.support.brokers import KafkaBroker, NatsServer
from tests.support.house import MAIL, House
from tests.support.keys import key_of
from tests.support.lab import Lab
from tests.support.mail_server import MailServer
from tests.support.source_server import MakeShop, SourceServer
from tests.support.streams import MakeOrders, order

SUPPORT = f"support:\n{MAIL % 'all'}"
MINUTE = timedelta(minutes=1)


def watch(lab: Lab, mailbox: MailServer) -> House:
    """The product with its people, whose clock stands still at first."""
    lab.settings = lab.settings.model_copy(update={"smtp_url": SecretStr(mailbox.url)})
    return House(lab, datetime.now(UTC))


def look(waits: Callable[[], bool]) -> bool | None:
    """Whether something waits; None where nobody answers."""
    with suppress(IngestError):
        return waits()
    return None


def attention(lab: Lab) -> tuple[list[dict[str, Any]], str]:
    """What needs somebody: as the API has it, and the page of the console."""
    operator = key_of(lab, "ops:read")
    with lab.serve() as client:
        found = client.get("/operations/status", headers=operator).json()["attention"]
        return found, client.get("/console", headers=operator).text


@pytest.mark.sampled
@pytest.mark.parametrize("kind", ["nats", "kafka"])
def test_a_broker_that_is_away_is_an_incident_until_it_answers(
    kind: str, request: pytest.FixtureRequest, make_orders: MakeOrders, mailbox: MailServer
) -> None:
    broker: NatsServer | KafkaBroker = request.getfixturevalue(kind)
    orders = make_orders(kind, more=SUPPORT)
    if isinstance(broker, NatsServer):
        broker.add_stream(orders.topic, [f"{orders.topic}.>"])
        broker.publish([(f"{orders.topic}.all", order(1)[1])])
    else:
        broker.add_topic(orders.topic)
        broker.produce(orders.topic, [order(1)])
    orders.load()
    assert look(orders.waits) is False
    house = watch(orders.lab, mailbox)
    broker.stop()
    try:
        assert look(orders.waits) is None
        assert look(orders.waits) is None  # a second look is not another incident, and does not begin it anew
        assert house.tell() == 0  # it may be back before anybody could look
        assert house.tell(2 * MINUTE) == 1
        assert house.tell(MINUTE) == 0
        orders.lab.rows("UPDATE decant.stream_lags SET measured_at = measured_at - interval '2 min' RETURNING 1")
        (entry,), page = attention(orders.lab)
    finally:
        broker.start()
    assert (entry["kind"], entry["dataset"], entry["load_id"]) == ("source_unreachable", "orders", None)
    assert entry["message"] == "The broker does not answer, or refuses: nothing is read. Readers keep revision 1."
    assert entry["next"] == "decant status orders@1.orders"
    assert "A source does not answer: orders / orders" in page
    assert "decant status orders@1.orders" in page
    assert mailbox.subjects == ["[orders@1.orders] source does not answer"]
    assert "Readers keep revision 1." in mailbox.mails[0].get_content()
    look(orders.waits)
    assert house.tell(MINUTE) == 1
    assert attention(orders.lab)[0] == []
    assert mailbox.subjects[1:] == ["[orders@1.orders] recovered: source does not answer"]


@pytest.mark.slow
def test_a_source_of_a_replicated_table_that_refuses_is_an_incident(
    make_shop: MakeShop, source_server: SourceServer, mailbox: MailServer
) -> None:
    shop = make_shop(more=SUPPORT)
    shop.create()
    shop.load()
    assert look(shop.waits) is False
    house = watch(shop.lab, mailbox)
    name = shop.url.rpartition("/")[2]
    with psycopg.connect(source_server.url(), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        assert look(shop.waits) is None
        assert house.tell(2 * MINUTE) == 1
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
    assert look(shop.waits) is False
    assert house.tell(MINUTE) == 1
    titles = ["source does not answer", "recovered: source does not answer"]
    assert mailbox.subjects == [f"[shop@1.orders] {title}" for title in titles]


@pytest.mark.slow
def test_lost_messages_are_a_load_that_failed_and_no_source_that_is_away(
    make_shop: MakeShop, mailbox: MailServer
) -> None:
    shop = make_shop(more=SUPPORT)
    shop.create()
    shop.load()
    house = watch(shop.lab, mailbox)
    slot = shop.ask("SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()")
    shop.run(f"SELECT pg_drop_replication_slot('{slot}')")
    assert look(shop.waits) is True  # a load says what is wrong
    assert shop.load().status == "failed"
    house.tell(2 * MINUTE)
    assert mailbox.subjects == ["[shop@1.orders] load failed"]
