"""What tests of the API share."""

from __future__ import annotations

from tests.support.shops import client, shop  # noqa: F401 - fixtures
