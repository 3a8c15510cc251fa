"""What the tests of messages to people share."""

from __future__ import annotations

from tests.support.house import mailbox  # noqa: F401 - a fixture
from tests.support.source_server import make_shop, source_server  # noqa: F401 - fixtures
from tests.support.streams import kafka, make_orders, nats  # noqa: F401 - fixtures
