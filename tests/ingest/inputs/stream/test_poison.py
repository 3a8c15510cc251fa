"""Another producer's poison: each message counts once and is rejected alone, and every good record arrives."""

from __future__ import annotations

import json

import pytest

from tests.support.brokers import KafkaBroker
from tests.support.poison import POISON, STRANGE, Poison
from tests.support.streams import MakeOrders, Orders, order

METADATA = "".join(
    f"      - {{name: m{name}, logicalType: {kind}, transformLogic: {name}}}\n"
    for name, kind in (("_key", "string"), ("_offset", "integer"), ("_headers", "string"))
)


def send(kafka: KafkaBroker, orders: Orders, messages: list[Poison]) -> int:
    """Sends messages, a good one before, between and behind them; how many these are."""
    kafka.add_topic(orders.topic)
    for number, each in enumerate(messages):
        kafka.produce(orders.topic, [order(1_000 + number)])
        kafka.produce(orders.topic, [(each.key, each.value)], headers=list(each.headers))  # type: ignore[list-item]
    kafka.produce(orders.topic, [order(1_000 + len(messages))])
    return len(messages) + 1


@pytest.mark.sampled
@pytest.mark.parametrize("more", ["", METADATA], ids=["values", "headers"])
def test_poison_among_good_messages_is_rejected_alone(kafka: KafkaBroker, make_orders: MakeOrders, more: str) -> None:
    orders = make_orders("kafka", more)
    good = send(kafka, orders, [*POISON, *(each for _, each in STRANGE)])
    (report,) = orders.load_all()
    found = {key for (key,) in orders.records("id")}
    expected = set(range(1_000, 1_000 + good)) | {key for key, _ in STRANGE}
    assert report.status == "published", report.error
    assert found == expected
    counts = orders.counts()
    assert counts["raw"] == good + len(POISON) + len(STRANGE)
    assert counts["accepted"] + counts["rejected"] + counts["duplicates"] == counts["raw"]
    assert counts["rejected"] == len(POISON)


ATTRIBUTES: dict[str, object] = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "placed"}
BINARY = (("ce_specversion", b"1.0"), ("ce_id", b"1"))
NO_EVENTS = [
    *(
        Poison(f"{name} is {value!r}", json.dumps(ATTRIBUTES | {"data": {"id": 1}} | {name: value}).encode())
        for name in ("specversion", "data")
        for value in (None, 1, [], {}, True, ["1.0"])
    ),
    Poison("data is a text", json.dumps(ATTRIBUTES | {"data": "{}"}).encode()),
    Poison("data in base64", json.dumps(ATTRIBUTES | {"data_base64": "eyJpZCI6IDF9"}).encode()),
    Poison("no attributes", b'{"data": {"id": 1}}'),
    Poison("two kinds of data", json.dumps(ATTRIBUTES | {"data": {"id": -1}, "data_base64": "!"}).encode()),
    Poison("binary, of no JSON", b"<id>1</id>", b"k", BINARY),
    Poison("binary, of a list", b"[1]", b"k", BINARY),
    Poison("binary, with data in a header", b'{"id": -1}', b"k", (*BINARY, ("ce_data", b"1"))),
    Poison("binary, no text", b'{"id": -1}', b"k", (("ce_specversion", b"\xff"), ("ce_id", b"\x00"))),
]
ROWS: tuple[object, ...] = (None, 1, [], "a", {}, {"id": None})
NO_CHANGES: list[object] = [
    *({"op": op, "before": row, "after": row} for op in (None, 1, "", "x", [], "c", "d", "u") for row in ROWS),
    {"payload": {"op": "c"}},
    {"schema": 1, "payload": 1},
    {"schema": {}, "payload": {"payload": {}}},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file_format", "poison", "good"),
    [
        ("cloudevents", NO_EVENTS, json.dumps(ATTRIBUTES | {"data": {"id": 7}}).encode()),
        (
            "debezium",
            [Poison("", json.dumps(each).encode()) for each in NO_CHANGES],
            b'{"op": "c", "after": {"id": 7}}',
        ),
        ("csv", [], b"7,1"),
    ],
)
def test_poison_of_each_format_is_rejected_alone(
    kafka: KafkaBroker, make_orders: MakeOrders, file_format: str, poison: list[Poison], good: bytes
) -> None:
    columns = {"columns": ["id", "amount"]} if file_format == "csv" else {}
    orders = make_orders("kafka", format=file_format, **columns)
    kafka.add_topic(orders.topic)
    messages = [*poison, *POISON, Poison("good", good)]
    for each in messages:
        kafka.produce(orders.topic, [(each.key, each.value)], headers=list(each.headers))  # type: ignore[list-item]
    (report,) = orders.load_all()
    assert report.status == "published", report.error
    assert [key for (key,) in orders.records("id")] == [7]
    assert orders.counts() == {
        "raw": len(messages),
        "accepted": 1,
        "rejected": len(messages) - 1,
        "duplicates": 0,
    }
