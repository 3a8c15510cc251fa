"""Retry delay that a server asks for, from its response headers (Retry-After and rate limits).

`Retry-After` counts first. Without it, a rate limit that is used up says when it starts anew: `RateLimit` with `r=0`
and `t`, or a pair such as `X-RateLimit-Remaining: 0` and `X-RateLimit-Reset`. Headers that cannot be read count as
absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

SECONDS = re.compile(r"\d{1,13}(?:\.\d{1,9})?", re.ASCII)
EPOCH_FROM = 1e9  # a larger number is a moment since 1970, a smaller one is seconds from now
MILLISECONDS_FROM = 1e11
PREFIXES = ("ratelimit", "x-ratelimit", "x-rate-limit")
LONGEST_SHOWN = timedelta(days=1)  # a load is tried again after a day, whatever the server says


def read_wait(headers: httpx.Headers) -> float | None:
    """The seconds that the server asks to be left alone; None where it does not say."""
    asked = read_timestamp(headers.get("retry-after"))
    if asked is not None:
        return asked
    return max(read_limits(headers), default=None)


def read_limits(headers: httpx.Headers) -> Iterator[float]:
    """The seconds until each limit that is used up starts anew."""
    for prefix in PREFIXES:
        if read_number(headers.get(f"{prefix}-remaining")) == 0:
            seconds = read_timestamp(headers.get(f"{prefix}-reset"))
            if seconds is not None:
                yield seconds
    for policy in headers.get("ratelimit", "").split(","):
        facts = dict(part.strip().split("=", 1) for part in policy.split(";") if "=" in part)
        seconds = read_timestamp(facts.get("t"))
        if read_number(facts.get("r")) == 0 and seconds is not None:
            yield seconds


def read_timestamp(text: str | None) -> float | None:
    """The seconds from now that a number of seconds, a moment since 1970 or an HTTP date means; never below 0."""
    number = read_number(text)
    if number is not None:
        if number >= MILLISECONDS_FROM:
            number /= 1000
        return number if number < EPOCH_FROM else max(0.0, number - now().timestamp())
    try:
        timestamp = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, OverflowError):
        return None
    timestamp = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    return max(0.0, (timestamp - now()).total_seconds())


def read_number(text: str | None) -> float | None:
    """A header's number; None where it is none."""
    text = (text or "").strip()
    return float(text) if SECONDS.fullmatch(text) else None


def describe_wait(seconds: float) -> str:
    """From when on the server may be asked again, for a person."""
    again = now() + min(timedelta(seconds=min(seconds, 1e9)), LONGEST_SHOWN)
    timestamp = again.strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"asks for a pause of {seconds:,.0f} seconds: requests are allowed again from {timestamp}"


def now() -> datetime:
    """The moment."""
    return datetime.now(UTC)
