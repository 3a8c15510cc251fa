"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_SECONDS = 20.0


def wait_until(check: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Nothing comes back; the check is true by now."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
