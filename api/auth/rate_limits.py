"""Rate limits: no caller exceeds its quota in any window, across all processes.

Postgres grants requests in leases of about a hundredth of the quota (`decant.lease_requests`), and a lease holds for
one slot of the window. So most requests cost no statement, and no process can spend what another one has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from api.http.client_address import CALLERS_MAXIMUM
from api.http.header_fields import Fields
from runtime.logs import log
from runtime.postgres.poolers import ConnectionPool
from runtime.settings.rate import Rate

LEASES_PER_QUOTA = 100
SLOTS = 60  # of a window; what is granted counts for one slot more than the window has
SLOTS_OF_SECONDS = 25
ALONE_SHARE = 10  # without the database, a process grants this part of the quota by itself
RETRY_SECONDS = 1.0  # and asks the database again after that
LEASE = "SELECT * FROM decant.lease_requests(%s, %s, %s, %s, %s, %s, %s)"
LOG = logging.getLogger("decant.rates")


@dataclass(frozen=True, slots=True)
class RateDecision:
    """Whether a request may pass, and how the caller stands."""

    allowed: bool
    remaining: int  # requests that may follow at once, as far as is known here
    reset_seconds: int  # until more may


@dataclass(slots=True)
class Lease:
    """What one caller was granted here."""

    left: int = 0
    until: float = 0.0  # by the monotonic clock; behind it nothing of the lease may be used
    slot: int = -1
    spare: int = 0  # what the quota still held when it was granted
    reset: float = 0.0
    refused_until: float = 0.0
    debt: int = 0  # requests that were charged beyond what was granted
    renewing: asyncio.Lock | None = None


class Limiter:
    """Grants requests to callers."""

    def __init__(self, pool: ConnectionPool, clock: Callable[[], float] = time.monotonic) -> None:
        self.pool = pool
        self.clock = clock
        self.leases: OrderedDict[tuple[str, Rate], Lease] = OrderedDict()
        self.alone_since: float | None = None

    async def take(self, caller: str, rate: Rate) -> RateDecision:
        """Whether one more request of a caller may pass."""
        cache_key = (caller, rate)
        lease = self.leases.get(cache_key)
        if lease is None:
            lease = self.leases[cache_key] = Lease()
            if len(self.leases) > CALLERS_MAXIMUM:
                self.leases.popitem(last=False)
        decision = self.spend(lease)
        if decision is not None:
            return decision
        if lease.renewing is None:
            lease.renewing = asyncio.Lock()
        async with lease.renewing:
            # Whoever waited finds what was granted meanwhile.
            while (decision := self.spend(lease)) is None:
                await self.renew(lease, caller, rate)
        self.leases.move_to_end(cache_key)
        return decision

    def spend(self, lease: Lease) -> RateDecision | None:
        """A request out of the lease, or its refusal; None where the database must be asked."""
        now = self.clock()
        if lease.left > 0 and now < lease.until:
            lease.left -= 1
            return RateDecision(True, lease.left + lease.spare, max(ceil(lease.reset - now), 1))
        if now < lease.refused_until:
            return RateDecision(False, 0, max(ceil(lease.reset - now), 1))
        return None

    def charge(self, caller: str, rate: Rate, requests: int) -> None:
        """Counts some more requests of a caller; what the lease does not hold is taken off the next ones."""
        lease = self.leases.get((caller, rate))
        if lease is not None:
            spent = min(lease.left, requests)
            lease.left -= spent
            lease.debt = min(lease.debt + requests - spent, rate.quota)

    def refusal(self, caller: str, rate: Rate) -> RateDecision | None:
        """The refusal of one more request, where it is certain without asking; nothing is spent."""
        lease = self.leases.get((caller, rate))
        if lease is None or lease.left > 0 or self.clock() >= lease.refused_until:
            return None
        return self.spend(lease)

    async def renew(self, lease: Lease, caller: str, rate: Rate) -> None:
        """Asks for a new lease, and gives back what is left of the old one."""
        slots = SLOTS_OF_SECONDS if rate.window_seconds == 1 else SLOTS
        window_ms = rate.window_seconds * 1000
        wanted = min(max(rate.quota // LEASES_PER_QUOTA, 1) + lease.debt, rate.quota)
        # A limit that changes begins anew: its slots are of another length.
        name = f"{caller} {rate.quota}/{rate.window_seconds}"
        asked = self.clock()
        try:
            async with self.pool.connection() as connection:
                parameters = (name, rate.quota, window_ms, slots, wanted, lease.left, lease.slot)
                row = await (await connection.execute(LEASE, parameters)).fetchone()
        except (psycopg.Error, PoolTimeout, TooManyRequests, OSError) as error:
            self.grant_alone(lease, rate, error)
            return
        self.alone_since = None
        granted, spare, slot, slot_ms_left, retry_ms = row or (0, 0, -1, 0.0, window_ms)
        # From before the question: however long it took, the slot does not end sooner.
        paid = min(granted, lease.debt)
        lease.debt -= paid
        lease.left, lease.spare, lease.slot = granted - paid, spare, slot
        lease.until = asked + slot_ms_left / 1000
        lease.reset = asked + retry_ms / 1000
        if granted == 0:
            # Nothing comes back before the oldest grant no longer counts, but what another process did not use.
            lease.refused_until = self.clock() + max(min(retry_ms, slot_ms_left) / 1000, 0.01)

    def grant_alone(self, lease: Lease, rate: Rate, error: Exception) -> None:
        """A small lease without the database: reads that need none go on, and nobody gets more than a part."""
        if self.alone_since is None:
            self.alone_since = self.clock()
            log(LOG, "rates_alone", logging.WARNING, error=type(error).__name__)
        now = self.clock()
        share = max(int(rate.quota * RETRY_SECONDS / rate.window_seconds / ALONE_SHARE), 1)
        lease.left, lease.spare, lease.slot = share, 0, -1
        lease.until = lease.reset = lease.refused_until = now + RETRY_SECONDS


def rate_headers(rate: Rate, decision: RateDecision) -> Fields:
    """RateLimit-Policy and RateLimit, as the IETF draft has them."""
    return [
        (b"ratelimit-policy", b'"default";q=%d;w=%d' % (rate.quota, rate.window_seconds)),
        (b"ratelimit", b'"default";r=%d;t=%d' % (decision.remaining, decision.reset_seconds)),
    ]
