"""What is counted, for Prometheus; summed over the processes that serve together.

Counters live in the processes. What the ledger knows is asked for at each scrape, once, whoever answers it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.identify import FIELDS
from api.auth.permissions import find_known_product
from api.database.published_heads import Place
from api.http.paths import decode_path
from api.http.security_events import PRINCIPAL
from api.http.server_timing import KEPT, Timings
from api.observability.access_log import AccessLog
from api.observability.usage import ANONYMOUS
from runtime.telemetry import traceresponse

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
UNKNOWN = "unknown"
NO_SNIFFING = (b"x-content-type-options", b"nosniff")  # what is no page is never run as one

REQUESTS = Counter("decant_requests", "Requests answered.", ("kind", "status"))
DURATION = Histogram("decant_request_seconds", "Seconds until the answer had left.", ("kind",), buckets=SECONDS)
LOOKUPS = Counter("decant_cache_lookups", "Looks into the cache of finished answers.", ("outcome",))
CACHE_BYTES = Gauge("decant_cache_bytes", "Bytes of finished answers.", multiprocess_mode="livesum")
LANES = Gauge("decant_read_connections_in_use", "Read connections at work.", multiprocess_mode="livesum")
WAITING = Gauge("decant_reads_waiting", "Reads that wait for a connection.", multiprocess_mode="livesum")
HIT, MISS = LOOKUPS.labels("hit"), LOOKUPS.labels("miss")

# Looked up once for each kind and status, for `labels` costs more than counting.
COUNTERS: dict[tuple[str, int], Any] = {}
TIMERS: dict[str, Any] = {}

LEDGER = """
SELECT d.product, d.major, d.dataset, d.revision, d.record_count,
  (SELECT count(*) FROM decant.rejected_records AS r WHERE r.dataset_id = d.id AND r.state = 'open')
FROM decant.datasets AS d ORDER BY d.product, d.major, d.dataset
"""
LOADS = "SELECT status, count(*) FROM decant.loads GROUP BY status ORDER BY status"
LABELS = ("product", "major", "dataset")


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


class Counting:
    """Counts what passes through an application, errors as well; tells callers how they stand and what it took."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, and counts."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if b"%" in scope["raw_path"]:
            scope["path"] = decode_path(scope["raw_path"])
        timings = scope[KEPT] = Timings()
        status = 500
        size = 0
        trace = ""

        async def watch(message: Message) -> None:
            nonlocal status, size, trace
            if message["type"] == "http.response.start":
                status = message["status"]
                trace = traceresponse()
                fields = message["headers"]
                # What anybody may keep is told of no single request: a cache would repeat it with every answer.
                if not is_public(fields):
                    fields = [*fields, (b"server-timing", timings.header()), (b"traceresponse", trace.encode())]
                message["headers"] = [*fields, NO_SNIFFING, *scope.get(FIELDS, ())]
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            endpoint = scope.get("endpoint")
            kind = str(getattr(endpoint, "name", None) or getattr(endpoint, "__name__", UNKNOWN))
            seconds = perf_counter() - timings.started
            observe(kind, status, seconds)
            self.note(scope, kind, status, size)
            access_log: AccessLog | None = scope["app"].state.access_log
            if access_log is not None:
                access_log.note(scope, kind, status, size, seconds, trace)

    def note(self, scope: Scope, kind: str, status: int, size: int) -> None:
        """Adds the request to what its principal has used; who asks for health has none."""
        principal = scope.get(PRINCIPAL)
        if principal is None:
            return
        service = scope["app"].state.service
        place = scope.get("path_params") or {}
        known = find_known_product(service.catalog, place.get("product", ""), place.get("major", ""))
        # Names only of what exists: strangers invent others.
        dataset = place.get("dataset", "") if known is not None and place.get("dataset") in known.datasets else ""
        where = (known.id, known.major, dataset) if known is not None else ("", 0, "")
        service.usage.note((principal.id or ANONYMOUS, *where, kind), status, size)


def is_public(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether shared caches may keep an answer with these headers."""
    return any(name == b"cache-control" and value.startswith(b"public") for name, value in fields)


def show_state(cache_bytes: int, in_use: int, waiting: int) -> None:
    """Notes how this process stands."""
    CACHE_BYTES.set(cache_bytes)
    LANES.set(in_use)
    WAITING.set(waiting)


def render_metrics(datasets: list[Any], loads: list[Any], fresh: Mapping[Place, Mapping[str, Any]]) -> bytes:
    """Everything, as Prometheus reads it; the ledger's rows come from LEDGER and LOADS."""
    folder = os.environ.get(FOLDER_VARIABLE)
    registry = CollectorRegistry()
    if folder:
        drop_dead(Path(folder))
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    counted = generate_latest(registry if folder else REGISTRY)
    ledger = CollectorRegistry()
    ledger.register(Ledger(datasets, loads, fresh))
    return counted + generate_latest(ledger)


class Ledger:
    """The ledger's figures."""

    def __init__(self, datasets: list[Any], loads: list[Any], fresh: Mapping[Place, Mapping[str, Any]]) -> None:
        self.datasets = datasets
        self.loads = loads
        self.fresh = fresh

    def collect(self) -> list[GaugeMetricFamily]:
        """A gauge for each figure."""
        revision = gauge("decant_dataset_revision", "The current revision.")
        records = gauge("decant_dataset_records", "Records of the current revision.")
        current = gauge("decant_dataset_current_timestamp_seconds", "As of when the dataset is known to be current.")
        limit = gauge("decant_dataset_freshness_limit_seconds", "How far behind the contract lets it fall.")
        kept = gauge("decant_dataset_fresh", "Whether it keeps that limit: 1 or 0.")
        rejected = gauge("decant_rejected_records", "Rejected records that wait for somebody.")
        for product, major, dataset, *figures in self.datasets:
            place = [product, str(major), dataset]
            revision.add_metric(place, figures[0])
            records.add_metric(place, figures[1])
            fresh = self.fresh.get((product, major, dataset), {})
            since = fresh.get("newest") or fresh.get("current_at")
            if since is not None:
                current.add_metric(place, since.timestamp())
            if fresh.get("fresh") is not None:
                limit.add_metric(place, fresh["latency_seconds"])
                kept.add_metric(place, float(fresh["fresh"]))
            rejected.add_metric(place, figures[2])
        loads = GaugeMetricFamily("decant_loads", "Loads in the ledger.", labels=["status"])
        for status, number in self.loads:
            loads.add_metric([status], number)
        return [revision, records, current, limit, kept, rejected, loads]


def gauge(name: str, says: str) -> GaugeMetricFamily:
    """A figure of each dataset."""
    return GaugeMetricFamily(name, says, labels=LABELS)


def drop_dead(folder: Path) -> None:
    """Removes what processes that have ended last said of themselves; what they counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                with suppress(FileNotFoundError):
                    file.unlink()
            except PermissionError:
                continue
