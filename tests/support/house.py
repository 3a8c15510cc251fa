"""A product whose people are told what is wrong, by a real mail server, at moments of the test."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from catalog.model.notifications import Channel
from catalog.status.dataset_status import read_status
from catalog.storage.dataset_tables import build_tables
from ingest.notifying.notifier import Notifier, send_test
from runtime.postgres.database import make_engine
from tests.support.lab import Lab
from tests.support.mail_server import MailServer, run_mail_server

MAIL = '  - {channel: ops, url: "mailto:ops@example.org", customProperties: [{property: notify, value: [%s]}]}\n'


@dataclass
class House:
    """A product, what tells its people, and a clock."""

    lab: Lab
    now: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(minutes=1))

    def __post_init__(self) -> None:
        self.engine = make_engine(self.lab.urls.ingest, keep=True)
        weakref.finalize(self, self.engine.dispose)
        self.notifier = Notifier(self.lab.settings, self.engine, lambda: self.lab.catalog)

    def tell(self, later: timedelta | None = None) -> int:
        """How many messages were tried, after the clock moved on."""
        self.now += later or timedelta()
        return self.notifier.run_round(lambda: self.now)

    def fail(self, count: int = 1, dataset_id: int = 1) -> None:
        """So many loads of a dataset that failed."""
        self.lab.rows(
            "INSERT INTO decant.loads (dataset_id, kind, status, error_code, error, started_at, finished_at)"
            " SELECT %s, 'ingest', 'failed', 'source_unavailable', 'SECRET words', now(), now()"
            " FROM generate_series(1, %s) RETURNING id",
            dataset_id,
            count,
        )

    def test(self, channel: Channel) -> str | None:
        """Why a test message was not taken."""
        return send_test(self.lab.settings, self.lab.catalog, channel, self.now)

    def failing(self) -> list[dict[str, object]]:
        """The failing channels as `decant status` has them."""
        tables = build_tables(self.lab.catalog.products.values())
        (row,) = read_status(self.engine, self.lab.catalog, tables, self.lab.catalog.datasets(), self.now)
        found = row["failing_channels"]
        assert isinstance(found, list)
        return found


@pytest.fixture
def mailbox() -> Iterator[MailServer]:
    """A mail server."""
    with run_mail_server() as server:
        yield server
