"""Usage statistics by principal, day, dataset and operation; never with values.

Noting costs a request no statement: every few seconds one adds up what has come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout, TooManyRequests

from runtime.logs import log
from runtime.postgres.poolers import ConnectionPool

FLUSH_SECONDS = 5.0
SWEEP_SECONDS = 3600.0
ROWS_MAXIMUM = 10_000  # between two flushes; what comes then is summed under no dataset
ANONYMOUS = "anonymous"
UsageKey = tuple[str, str, int, str, str]  # principal, product, major, dataset, operation
LOG = logging.getLogger("decant.usage")

FLUSH = """
WITH used AS (
  SELECT * FROM unnest(%(principals)s::text[], %(days)s::date[], %(products)s::text[], %(majors)s::int[],
    %(datasets)s::text[], %(operations)s::text[], %(requests)s::bigint[], %(refused)s::bigint[], %(bytes)s::bigint[],
    %(moments)s::timestamptz[]) WITH ORDINALITY
    AS used (principal, day, product, major, dataset, operation, requests, refused, bytes, last_at, place)
), touched AS (
  UPDATE decant.api_keys AS k SET last_used_at = latest.last_at
  FROM (SELECT principal, max(last_at) AS last_at FROM used GROUP BY principal) AS latest
  WHERE k.id = latest.principal AND (k.last_used_at IS NULL OR k.last_used_at < latest.last_at)
), refusals AS (
  INSERT INTO decant.key_refusals AS kept (principal, day, product, major, dataset, operation, code, requests)
  SELECT principal, day, product, major, dataset, operation, code, times
  FROM unnest(%(places)s::int[], %(codes)s::text[], %(times)s::bigint[]) AS refusal (place, code, times)
  JOIN used USING (place)
  ORDER BY principal, day, product, major, dataset, operation, code
  ON CONFLICT (principal, day, product, major, dataset, operation, code) DO UPDATE SET
    requests = kept.requests + excluded.requests
)
INSERT INTO decant.key_usage AS kept
  (principal, day, product, major, dataset, operation, requests, refused, bytes, last_at)
SELECT principal, day, product, major, dataset, operation, requests, refused, bytes, last_at FROM used
ORDER BY principal, day, product, major, dataset, operation
ON CONFLICT (principal, day, product, major, dataset, operation) DO UPDATE SET
  requests = kept.requests + excluded.requests, refused = kept.refused + excluded.refused,
  bytes = kept.bytes + excluded.bytes, last_at = greatest(kept.last_at, excluded.last_at)
"""
READ = """
SELECT coalesce(json_agg(json_build_object('principal', principal, 'day', day, 'product', nullif(product, ''),
    'major', nullif(major, 0), 'dataset', nullif(dataset, ''), 'operation', operation, 'requests', requests,
    'refused', refused, 'refusals', refusals, 'bytes', bytes)
  ORDER BY day DESC, principal, product, major, dataset, operation), '[]')
FROM (
  SELECT u.*, (
    SELECT coalesce(json_object_agg(code, r.requests ORDER BY r.requests DESC, code), '{}')
    FROM decant.key_refusals AS r
    WHERE (r.principal, r.day, r.product, r.major, r.dataset, r.operation)
      = (u.principal, u.day, u.product, u.major, u.dataset, u.operation)
  ) AS refusals
  FROM decant.key_usage AS u
  WHERE day BETWEEN %(first)s AND %(last)s AND (%(principal)s::text IS NULL OR principal = %(principal)s)
  ORDER BY day DESC, principal, product, major, dataset, operation LIMIT 10000
) AS used
"""
SWEEP = "DELETE FROM decant.rate_leases WHERE touched_at < now() - interval '2 days'"


@dataclass
class Sums:
    """What was asked for in one place since it was written last."""

    requests: int = 0
    refused: int = 0
    bytes: int = 0
    last_at: float = 0.0
    refusals: Counter[str] = field(default_factory=Counter)  # by the code of the problem, of which there are few

    def add(self, other: Sums) -> None:
        """Adds what was asked for besides."""
        self.requests += other.requests
        self.refused += other.refused
        self.bytes += other.bytes
        self.last_at = max(self.last_at, other.last_at)
        self.refusals += other.refusals


class UsageLog:
    """Sums what callers asked for, and writes the sums."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.swept_at = float("-inf")
        self.sums: dict[UsageKey, Sums] = {}

    def note(self, key: UsageKey, status: int, size: int, problem: str | None = None) -> None:
        """Adds one answered request; `problem` is the code of the problem that answered it."""
        sums = self.sums.get(key)
        if sums is None:
            if len(self.sums) >= ROWS_MAXIMUM:
                key = (key[0], "", 0, "", "")
            sums = self.sums.setdefault(key, Sums())
        sums.requests += 1
        sums.bytes += size
        sums.last_at = time.time()
        if status >= 400:
            sums.refused += 1
            if problem is not None:
                sums.refusals[problem] += 1

    async def run(self) -> None:
        """Writes the sums now and again until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()
            if time.monotonic() - self.swept_at > SWEEP_SECONDS:
                self.swept_at = time.monotonic()
                await self.sweep()

    async def sweep(self) -> None:
        """Forgets the leases of those who have long not asked."""
        with suppress(psycopg.Error, PoolTimeout, TooManyRequests, OSError):
            async with self.pool.connection() as connection:
                await connection.execute(SWEEP)

    async def flush(self) -> None:
        """Writes the sums; where that fails they stay, and are tried again."""
        taken, self.sums = self.sums, {}
        if not taken:
            return
        try:
            async with self.pool.connection() as connection:
                await connection.execute(FLUSH, columns_of(taken))
        except (psycopg.Error, PoolTimeout, TooManyRequests, OSError) as error:
            log(LOG, "usage_kept", logging.WARNING, error=type(error).__name__, rows=len(taken))
            for key, sums in taken.items():
                self.sums.setdefault(key, Sums()).add(sums)


def columns_of(taken: dict[UsageKey, Sums]) -> dict[str, list[object]]:
    """The sums as columns, each place once a day: a request counts for the day of the last of its sum.

    Refusals name their place by its number, from 1.
    """
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            "principals", "days", "products", "majors", "datasets", "operations", "requests", "refused", "bytes",
            "moments", "places", "codes", "times",
        )
    }  # fmt: skip
    for place, ((principal, product, major, dataset, operation), sums) in enumerate(taken.items(), 1):
        timestamp = datetime.fromtimestamp(sums.last_at, UTC)
        row = (principal, timestamp.date(), product, major, dataset, operation)
        for name, value in zip(columns, (*row, sums.requests, sums.refused, sums.bytes, timestamp), strict=False):
            columns[name].append(value)
        for code, times in sums.refusals.items():
            columns["places"].append(place)
            columns["codes"].append(code)
            columns["times"].append(times)
    return columns


async def read_usage(
    connection: AsyncConnection, principal: str | None, first: date, last: date
) -> list[dict[str, object]]:
    """What a principal, or everybody, asked for in these days; at most 10,000 rows, the latest days first."""
    row = await (await connection.execute(READ, {"principal": principal, "first": first, "last": last})).fetchone()
    return row[0] if row else []
