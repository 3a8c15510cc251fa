"""Products that a stream feeds, and the brokers behind them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from catalog.model.load_request import PublishWithheld
from ingest.inputs.stream.clients import KEPT
from ingest.inputs.stream.seek import seek
from ingest.worker.input_progress import read_progress
from ingest.worker.watch_streams import has_new_messages
from tests.support.brokers import KafkaBroker, NatsServer
from tests.support.lab import Lab

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: orders
name: Orders
version: 1.0.0
status: active
servers:
  - {{server: kafka, type: kafka, host: "{kafka}", format: json, customProperties: {registry}}}
  - server: nats
    type: custom
    customProperties: [{{property: kind, value: nats}}, {{property: url, value: "{nats}"}}]
schema:
  - name: orders
    customProperties:
      - {{property: input, value: {input}}}
{gates}    properties:
      - {{name: id, logicalType: integer, primaryKey: true, logicalTypeOptions: {{minimum: 0}}}}
      - {{name: amount, logicalType: integer}}
{more}
roles:
  - {{role: "orders:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}
"""


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker of Kafka's protocol."""
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    yield broker
    KEPT.close()
    broker.stop()


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A NATS server."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    KEPT.close()
    server.stop()


@dataclass
class Orders:
    """A product whose one dataset a topic or a stream feeds."""

    lab: Lab
    topic: str

    def load(self) -> Any:
        """One load; its report."""
        return self.lab.loader().run(self.lab.dataset("orders@1.orders"))

    def load_all(self) -> list[Any]:
        """Loads until nothing is left."""
        reports = [self.load()]
        while reports[-1].more:
            reports.append(self.load())
        return reports

    def records(self, columns: str = "id, amount") -> list[tuple[Any, ...]]:
        """The current records, by key."""
        return self.lab.rows(f"SELECT {columns} FROM orders_v1.orders ORDER BY id")

    def seek(self, where: str) -> None:
        """Moves the position by hand."""
        loader = self.lab.loader()
        seek(loader.settings, loader.tables, loader.engine, self.lab.dataset("orders@1.orders"), where, "test")

    def waits(self) -> bool:
        """Whether a worker would load the stream now."""
        loader, dataset = self.lab.loader(), self.lab.dataset("orders@1.orders")
        return has_new_messages(loader, dataset, read_progress(loader.engine, dataset))

    def publish_withheld(self) -> None:
        """Publishes the batch that a gate held back."""
        (number,) = self.lab.rows("SELECT max(id) FROM decant.loads WHERE status = 'withheld'")[0]
        dataset = self.lab.dataset("orders@1.orders")
        assert self.lab.loader().run(dataset, request=PublishWithheld(number)).status == "published"

    def counts(self) -> dict[str, int]:
        """What all loads counted together."""
        names = ("raw", "accepted", "rejected", "duplicates")
        sums = ", ".join(f"coalesce(sum({name}), 0)::int" for name in names)
        return dict(zip(names, self.lab.rows(f"SELECT {sums} FROM decant.loads")[0], strict=True))

    def rejects(self) -> list[tuple[Any, ...]]:
        """Where the rejected records lie, with their raw texts and what is wrong with them."""
        query = "SELECT file, line, raw, reasons -> 0 ->> 'message' FROM decant.rejected_records ORDER BY file, line"
        return self.lab.rows(query)

    def position(self) -> dict[str, int]:
        """The next offset of each partition."""
        rows = self.lab.rows("SELECT position FROM decant.input_states")
        return dict(rows[0][0]["next"]) if rows else {}


MakeOrders = Callable[..., Orders]


def order(number: int, amount: int = 1) -> tuple[str, bytes]:
    """A message: its key, and its value."""
    return str(number), b'{"id": %d, "amount": %d}' % (number, amount)


@pytest.fixture
def make_orders(make_lab: Callable[..., Lab], request: pytest.FixtureRequest) -> MakeOrders:
    """Makes the product for a broker; `options` are more keys of its input."""

    def make(
        broker: str, more: str = "", gates: dict[str, int] | None = None, registry: str = "", **options: Any
    ) -> Orders:
        topic = f"orders-{uuid4().hex[:8]}"
        name = "topic" if broker == "kafka" else "stream"
        chosen = {"server": broker, name: topic, "mode": "upsert"} | options
        hosts = {"kafka": "127.0.0.1:1", "nats": "nats://127.0.0.1:1"}
        hosts[broker] = request.getfixturevalue(broker).url
        limits = "".join(f"      - {{property: {gate}, value: {most}}}\n" for gate, most in (gates or {}).items())
        known = json.dumps([{"property": "registry", "value": registry}] if registry else [])
        text = CONTRACT.format(registry=known, input=json.dumps(chosen), more=more, gates=limits, **hosts)
        lab = make_lab(text)
        return Orders(lab, topic)

    return make
