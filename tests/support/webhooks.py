"""Subscriptions and what sends to them, with a clock that tests move; receivers are real servers on this machine."""

from __future__ import annotations

import json
import weakref
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from catalog.storage.outbox import tell
from catalog.storage.webhook_secrets import add_secret
from ingest.delivery.deliverer import Deliverer
from ingest.http_client.guarded_network import Resolver
from ingest.ledger.outbox import number_events
from runtime.postgres.database import make_engine
from runtime.settings.secret import read_secret
from tests.support.keys import make_key
from tests.support.lab import Lab
from tests.support.remote_api import Asked

HEADER = "id,name,age,born\n"


@dataclass
class Sender:
    """What sends to the subscriptions of a lab, at a moment that the test says."""

    lab: Lab
    find_addresses: Resolver | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    published: int = 0

    def __post_init__(self) -> None:
        self.engine = make_engine(self.lab.urls.ingest, keep=True)
        weakref.finalize(self, self.engine.dispose)
        self.deliverer = Deliverer(self.lab.settings, self.engine, lambda: self.lab.catalog, self.find_addresses)

    def subscribe(self, address: str, *scopes: str, **values: Any) -> tuple[str, str]:
        """The id of a new subscription to everything of `people`, and its secret; owned by a new key."""
        owner = make_key(self.lab, *(scopes or ("people:read", "ops:read"))).split("_")[1]
        number = self.lab.rows("SELECT count(*) FROM decant.subscriptions")[0][0] + 1
        text, kept = add_secret(read_secret(self.lab.settings), f"s{number}", [], self.now)
        row = {"id": f"s{number}", "owner": owner, "product": "people", "major": 1, "address": address}
        row |= {"kinds": json.dumps(["revision.published"]), "secrets": json.dumps(kept), "cursor": 0} | values
        names = ", ".join(row)
        self.lab.rows(
            f"INSERT INTO decant.subscriptions ({names}) VALUES ({', '.join(['%s'] * len(row))}) RETURNING id",
            *row.values(),
        )
        return row["id"], text

    def publish(self, count: int = 1) -> None:
        """So many revisions more, each of another record."""
        for _ in range(count):
            self.published += 1
            self.lab.ingest("people.people", f"{HEADER}{self.published},Ann,30,\n")

    def tell(self) -> None:
        """The event of one revision more, without its records: for many of them."""
        self.published += 1
        with self.engine.begin() as connection:
            tell(connection, "revision.published", 1, {"revision": self.published, "epoch": "0", "load": 1})

    def send(self, later: timedelta | None = None) -> int:
        """How many messages were sent, after the clock moved on."""
        self.now += later or timedelta()
        while number_events(self.engine):
            pass
        return self.deliverer.deliver_due(self.now)

    def row(self, subscription: str) -> dict[str, Any]:
        """The subscription as the database has it."""
        with self.engine.connect() as connection:
            query = sa.text("SELECT * FROM decant.subscriptions WHERE id = :id")
            return dict(connection.execute(query, {"id": subscription}).mappings().one())

    def log(self, subscription: str) -> list[dict[str, Any]]:
        """Its deliveries, the oldest first."""
        with self.engine.connect() as connection:
            query = sa.text("SELECT * FROM decant.deliveries WHERE subscription_id = :id ORDER BY id")
            return [dict(row) for row in connection.execute(query, {"id": subscription}).mappings()]


def event_of(asked: Asked) -> dict[str, Any]:
    """The event of a message."""
    found: dict[str, Any] = json.loads(asked.body)
    return found


def revisions(asked: list[Asked]) -> list[int]:
    """The revisions that messages tell of, in the order in which they came."""
    return [event_of(each)["data"]["revision"] for each in asked]
