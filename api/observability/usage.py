"""Usage statistics by principal, day, dataset and operation; never with values.

Noting costs a request no statement: every few seconds one adds up what has come.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
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
    %(moments)s::timestamptz[])
    AS used (principal, day, product, major, dataset, operation, requests, refused, bytes, last_at)
), touched AS (
  UPDATE decant.api_keys AS k SET last_used_at = latest.last_at
  FROM (SELECT principal, max(last_at) AS last_at FROM used GROUP BY principal) AS latest
  WHERE k.id = latest.principal AND (k.last_used_at IS NULL OR k.last_used_at < latest.last_at)
)
INSERT INTO decant.key_usage AS kept
  (principal, day, product, major, dataset, operation, requests, refused, bytes, last_at)
SELECT * FROM used ORDER BY principal, day, product, major, dataset, operation
ON CONFLICT (principal, day, product, major, dataset, operation) DO UPDATE SET
  requests = kept.requests + excluded.requests, refused = kept.refused + excluded.refused,
  bytes = kept.bytes + excluded.bytes, last_at = greatest(kept.last_at, excluded.last_at)
"""
READ = """
SELECT coalesce(json_agg(json_build_object('principal', principal, 'day', day, 'product', nullif(product, ''),
    'major', nullif(major, 0), 'dataset', nullif(dataset, ''), 'operation', operation, 'requests', requests,
    'refused', refused, 'bytes', bytes)
  ORDER BY day DESC, principal, product, major, dataset, operation), '[]')
FROM (
  SELECT * FROM decant.key_usage
  WHERE day BETWEEN %(first)s AND %(last)s AND (%(principal)s::text IS NULL OR principal = %(principal)s)
  ORDER BY day DESC, principal, product, major, dataset, operation LIMIT 10000
) AS used
"""
SWEEP = "DELETE FROM decant.rate_leases WHERE touched_at < now() - interval '2 days'"


class UsageLog:
    """Sums what callers asked for, and writes the sums."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.swept_at = float("-inf")
        self.sums: dict[UsageKey, list[float]] = {}  # -> requests, refused, bytes, last moment

    def note(self, key: UsageKey, status: int, size: int) -> None:
        """Adds one answered request."""
        sums = self.sums.get(key)
        if sums is None:
            if len(self.sums) >= ROWS_MAXIMUM:
                key = (key[0], "", 0, "", "")
            sums = self.sums.setdefault(key, [0, 0, 0, 0.0])
        sums[0] += 1
        sums[1] += status >= 400
        sums[2] += size
        sums[3] = time.time()

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
                later = self.sums.setdefault(key, [0, 0, 0, 0.0])
                for index in range(3):
                    later[index] += sums[index]
                later[3] = max(later[3], sums[3])


def columns_of(taken: dict[UsageKey, list[float]]) -> dict[str, list[object]]:
    """The sums as columns, each place once a day: a request counts for the day of the last of its sum."""
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            "principals", "days", "products", "majors", "datasets", "operations", "requests", "refused", "bytes",
            "moments",
        )
    }  # fmt: skip
    for (principal, product, major, dataset, operation), (requests, refused, size, last) in taken.items():
        timestamp = datetime.fromtimestamp(last, UTC)
        row = (principal, timestamp.date(), product, major, dataset, operation)
        for name, value in zip(columns, (*row, int(requests), int(refused), int(size), timestamp), strict=True):
            columns[name].append(value)
    return columns


async def read_usage(
    connection: AsyncConnection, principal: str | None, first: date, last: date
) -> list[dict[str, object]]:
    """What a principal, or everybody, asked for in these days; at most 10,000 rows, the latest days first."""
    row = await (await connection.execute(READ, {"principal": principal, "first": first, "last": last})).fetchone()
    return row[0] if row else []
