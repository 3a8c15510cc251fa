"""Retry policy of loads: attempts and delays. Pure: computes what to write into the ledger."""

from __future__ import annotations

import random

import sqlalchemy as sa

from catalog.model.load_request import ERASED_KEY
from catalog.storage.ledger_tables import Load

MAX_ATTEMPTS = 5
# A load whose worker was lost is no failure of its own, unless it happens again and again: then it may be the reason.
MAX_LOST_ATTEMPTS = 25
FIRST_DELAY_SECONDS = 5.0
DELAY_GROWTH = 4.0
LONGEST_DELAY_SECONDS = 600.0
LONGEST_AFTER_SECONDS = 86_400.0  # of what a source asks for: nothing outside can park a load for longer


def choose_delay(attempt: int, first_seconds: float = FIRST_DELAY_SECONDS) -> float:
    """Seconds until the next attempt: exponential, capped, and within ± 25 % so that not all come back at once."""
    seconds = min(first_seconds * DELAY_GROWTH ** (attempt - 1), LONGEST_DELAY_SECONDS)
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - nothing secret


def end_attempt(
    code: str, message: str, attempt: int, *, transient: bool, after: float | None = None
) -> dict[str, object]:
    """What the ledger says of a load whose attempt failed: `queued` while it may be tried again, else `failed`.

    `after` are the seconds that the source asks to be left alone: the next attempt is no sooner, within a day.
    """
    facts: dict[str, object] = {"error_code": code, "error": message, "lease_until": None}
    if transient and attempt < MAX_ATTEMPTS:
        seconds = max(choose_delay(attempt), min(after or 0.0, LONGEST_AFTER_SECONDS))
        delay = sa.cast(f"{seconds:.1f} seconds", sa.Interval)
        return facts | {"status": "queued", "retry_at": sa.func.clock_timestamp() + delay}
    return facts | give_up()


def give_up() -> dict[str, object]:
    """What the ledger says of a load that is not tried again; the key of an erasure goes with it."""
    shown = Load.request.op("#-")(sa.literal(list(ERASED_KEY), sa.ARRAY(sa.Text)))
    return {"status": "failed", "finished_at": sa.func.clock_timestamp(), "request": shown}
