"""What tests of inputs share."""

from __future__ import annotations

from tests.support.source_database import shop  # noqa: F401 - a fixture
from tests.support.streams import kafka, make_orders, nats  # noqa: F401 - fixtures
