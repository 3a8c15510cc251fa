"""Rates such as `600/minute`: how many requests in a window of time. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

WINDOW_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
QUOTA_MAXIMUM = 10**9
RATE_TEXT = re.compile(r"([0-9]{1,10})\s*/\s*(second|minute|hour|day)")


class Rate(NamedTuple):
    """At most `quota` requests in any window of `window_seconds`."""

    quota: int
    window_seconds: int


def parse_rate(text: str) -> Rate:
    """The rate that a text such as `600/minute` is; ValueError where it is none."""
    match = RATE_TEXT.fullmatch(text.strip())
    if match is None or not 1 <= int(match[1]) <= QUOTA_MAXIMUM:
        raise ValueError(f"{text!r} is not a rate such as 600/minute (second, minute, hour or day)")
    return Rate(int(match[1]), WINDOW_SECONDS[match[2]])


def read_limit(text: str) -> Rate | None:
    """The rate of a setting; None where it is `off`."""
    return None if text.strip().lower() == "off" else parse_rate(text)
