"""What the portal's tests share."""

from __future__ import annotations

from tests.support.browser import chromium  # noqa: F401 - a fixture
