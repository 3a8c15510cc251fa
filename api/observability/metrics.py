"""Prometheus metrics, aggregated over the processes of a service.

Counters live in the processes. What the ledger knows is queried once at each scrape, by the process that answers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from api.http.header_fields import Field

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
UNKNOWN = "unknown"
NO_SNIFFING = (b"x-content-type-options", b"nosniff")  # what is no page is never run as one

REQUESTS = Counter("decant_requests", "Requests answered.", ("kind", "status"))
DURATION = Histogram(
    "decant_request_seconds",
    "Duration of requests until the response was sent, in seconds.",
    ("kind",),
    buckets=SECONDS,
)
LOOKUPS = Counter("decant_cache_lookups", "Lookups in the cache of answers.", ("outcome",))
CACHE_BYTES = Gauge("decant_cache_bytes", "Size of the cached answers, in bytes.", multiprocess_mode="livesum")
READ_CONNECTIONS = Gauge("decant_read_connections_in_use", "Read connections in use.", multiprocess_mode="livesum")
WAITING = Gauge("decant_reads_waiting", "Reads that wait for a connection.", multiprocess_mode="livesum")
FOLLOWERS = Gauge("decant_followers", "Open streams of revisions.", multiprocess_mode="livesum")
HIT, MISS = LOOKUPS.labels("hit"), LOOKUPS.labels("miss")

# Looked up once for each kind and status, for `labels` costs more than counting.
COUNTERS: dict[tuple[str, int], Any] = {}
TIMERS: dict[str, Any] = {}


def count_cache(hit: bool) -> None:
    """Counts one look into the cache."""
    (HIT if hit else MISS).inc()


def observe(kind: str, status: int, seconds: float) -> None:
    """Counts one answered request."""
    counter = COUNTERS.get((kind, status))
    if counter is None:
        counter = COUNTERS[kind, status] = REQUESTS.labels(kind, str(status))
    counter.inc()
    timer = TIMERS.get(kind)
    if timer is None:
        timer = TIMERS[kind] = DURATION.labels(kind)
    timer.observe(seconds)


def is_public(fields: Sequence[Field]) -> bool:
    """Whether shared caches may keep an answer with these headers."""
    for name, value in reversed(fields):  # it is among the last
        if name == b"cache-control":
            return value.startswith(b"public")
    return False


def show_state(cache_bytes: int, in_use: int, waiting: int, followers: int) -> None:
    """Sets the gauges of this process."""
    CACHE_BYTES.set(cache_bytes)
    READ_CONNECTIONS.set(in_use)
    WAITING.set(waiting)
    FOLLOWERS.set(followers)
