"""The addresses that an issuer's metadata names, kept: one fetch for all who wait, and few fetches in a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import httpx

from api.auth.jwks import FETCH_SECONDS, FLOOR_SECONDS, FRESH_SECONDS, UnusableAnswerError, find_endpoint


class Endpoints:
    """The addresses of one issuer."""

    def __init__(self, issuer: str, client: httpx.AsyncClient, ticks: Callable[[], float]) -> None:
        self.issuer = issuer
        self.client = client
        self.ticks = ticks
        self.lock = asyncio.Lock()
        self.found: dict[str, tuple[float, str]] = {}  # member -> when it was fetched, and the address
        self.failed_at = -math.inf

    async def find(self, member: str) -> str:
        """The address of a member such as `token_endpoint`; ValueError or HTTPError where there is none now."""
        async with self.lock:
            fetched_at, url = self.found.get(member, (-math.inf, ""))
            if self.ticks() - fetched_at < FRESH_SECONDS:
                return url
            if self.ticks() - self.failed_at < FLOOR_SECONDS:
                raise UnusableAnswerError("the metadata could not be fetched a moment ago")
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    url = await find_endpoint(self.client, self.issuer, member)
            except Exception:
                self.failed_at = self.ticks()
                raise
            self.found[member] = (self.ticks(), url)
            return url
