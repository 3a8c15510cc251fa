"""Security events: what somebody tried that is not let through. One line of the log each, and counted.

A line is a constant message with facts. Text that callers choose is never among the facts, and secrets never are.
"""

from __future__ import annotations

import logging
from typing import Any

from prometheus_client import Counter

from catalog.logs import log

LOG = logging.getLogger("decant.security")
EVENTS = Counter("decant_security_events", "Security events.", ("event",))


def note_event(event: str, **facts: Any) -> None:
    """Counts an event, and writes it down."""
    EVENTS.labels(event).inc()
    log(LOG, event, logging.WARNING, **facts)
