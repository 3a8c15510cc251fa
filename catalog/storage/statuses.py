"""Status values of loads, and states of rejected records."""

from __future__ import annotations

LOAD_STATUSES = ("queued", "running", "published", "unchanged", "withheld", "failed")
REJECT_STATES = ("open", "replayed", "superseded", "dismissed")
