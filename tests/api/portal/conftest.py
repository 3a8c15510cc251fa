"""What the portal's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.portal.charts import drawing
from tests.support.browser import chromium  # noqa: F401 - a fixture


@pytest.fixture(scope="session", autouse=True)
def patient_drawing() -> Iterator[None]:
    """A busy machine takes its time to start the renderer: no test is about that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "WAITING_SECONDS", 120.0)
        yield
