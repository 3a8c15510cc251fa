"""When a webhook that was not taken is sent again: ten attempts over three days. Pure."""

from __future__ import annotations

import random

WAITS_SECONDS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 72_000.0)
JITTER = 0.1  # of a wait, at most, on top of it: not all come back at once
LONGEST_AFTER_SECONDS = 86_400.0  # of what a receiver asks for


def choose_wait(failures: int, after: float | None = None) -> float | None:
    """The seconds until the next attempt, after so many failures in a row; None where there is none.

    `after` are the seconds that the receiver asks to be left alone: the attempt is no sooner, within a day.
    """
    if failures > len(WAITS_SECONDS):
        return None
    seconds = WAITS_SECONDS[failures - 1] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 - nothing secret
    return max(seconds, min(after or 0.0, LONGEST_AFTER_SECONDS))
