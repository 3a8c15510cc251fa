"""The caller's identity for connection turns and rate limits."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from api.auth.rate_limits import Limiter
from runtime.settings.rate import Rate

FREE_SECONDS = 0.02  # of the database's time, for each request
CHARGED_SECONDS = 0.01  # beyond that count as one request more


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what their requests are counted under."""

    name: str
    limiter: Limiter | None = None
    account: str = ""
    rate: Rate | None = None

    def charge(self, seconds: float) -> None:
        """Counts the database's time as requests: a costly question is worth many cheap ones."""
        more = int((seconds - FREE_SECONDS) / CHARGED_SECONDS)
        if more > 0 and self.limiter is not None and self.rate is not None:
            self.limiter.charge(self.account, self.rate, more)


ITSELF = Caller("")  # Decant's own questions, which no share holds back
CALLING: ContextVar[Caller] = ContextVar("calling", default=ITSELF)
