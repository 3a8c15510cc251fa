"""What neighbours do: one behaves well, the others do their worst within the rate limit."""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

PAUSE_SECONDS = 0.025  # between two requests of who behaves well: far below the limit
FLIGHTS = "/data/nyc-flights/v1/flights"
COSTLY = "group_by=carrier,origin,destination,day(scheduled_departure)&measure=count,avg:departure_delay&sort=-count"
# The shipped product takes no events.
PUSHED = """
apiVersion: v3.1.0
kind: DataContract
id: pushed
name: Pushed
version: 1.0.0
status: active
schema:
  - name: texts
    customProperties:
      - {property: input, value: {events: true, mode: upsert}}
    properties:
      - {name: id, logicalType: string, primaryKey: true, required: true}
"""
EVENTS = "/data/pushed/v1/texts/events"
PUSH_SCOPE = "pushed:write"
TOO_DENSE = gzip.compress(b'{"id":"' + b'\\"' * 4_900_000 + b'"}')  # 10 KB, refused for what it unpacks to


def make_dense() -> bytes:
    """About 100 KB that may unpack to the 10 MB they do."""
    text = random.Random(13).randbytes(100_000).hex() + "\\u0430" * 1_590_000
    return gzip.compress(f'{{"id":"{text}"}}'.encode())


async def behave(address: str, key: str, seconds: float) -> tuple[list[float], int]:
    """Seconds of each of many pages, asked for one after the other, and how many failed."""
    taken: list[float] = []
    failed = 0
    source = random.Random(3)
    async with httpx.AsyncClient(base_url=address, headers={"X-API-Key": key}, timeout=30) as client:
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            # Seldom the same twice: what is cached says nothing about sharing.
            question = f"limit={source.randrange(20, 60)}&distance[gte]={source.randrange(1000)}&carrier=UA"
            try:
                answer = await client.get(f"{FLIGHTS}/records?{question}")
                failed += answer.status_code != 200
            except httpx.HTTPError:
                failed += 1
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_SECONDS)
    return taken, failed


async def repeat(count: int, seconds: float, ask: Callable[[], Awaitable[object]]) -> None:
    """The same question from several sides at once, again and again."""
    end = time.perf_counter() + seconds

    async def go_on() -> None:
        while time.perf_counter() < end:
            with suppress(httpx.HTTPError, OSError, asyncio.IncompleteReadError):
                await ask()

    await asyncio.gather(*(go_on() for _ in range(count)))


async def ask_costly(address: str, key: str, seconds: float) -> None:
    """Aggregates over everything, ten at a time."""
    async with httpx.AsyncClient(base_url=address, headers={"X-API-Key": key}, timeout=30) as client:
        source = random.Random(5)
        await repeat(
            10,
            seconds,
            lambda: client.get(f"{FLIGHTS}/aggregate?{COSTLY}&distance[gte]={source.randrange(100_000)}"),
        )


async def leave_unread(address: str, key: str, seconds: float, path: str, count: int) -> None:
    """Answers that are asked for and never read."""
    parts = urlsplit(address)
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nX-API-Key: {key}\r\n\r\n".encode()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request)
        await asyncio.sleep(seconds)
        writer.close()
        del reader

    await repeat(count, seconds, ask)


async def guess_keys(address: str, _key: str, seconds: float) -> None:
    """Keys that nobody was given."""
    wrong = "dcnt_{:012d}_" + "0" * 32 + "000000"
    source = random.Random(7)
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:
        await repeat(
            10,
            seconds,
            lambda: client.get("/keys/self", headers={"X-API-Key": wrong.format(source.randrange(10**12))}),
        )


async def hold_connections(address: str, _key: str, seconds: float) -> None:
    """1,200 connections on which hardly anything is said."""
    parts = urlsplit(address)

    async def hold() -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
            await asyncio.sleep(seconds)
            writer.close()

    await asyncio.gather(*(hold() for _ in range(1200)))


async def push_bombs(address: str, key: str, seconds: float) -> None:
    """Small bodies that unpack to large ones, some within the limits, five at a time."""
    bodies = [TOO_DENSE, make_dense()]
    source = random.Random(17)
    headers = {"X-API-Key": key, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client:
        await repeat(5, seconds, lambda: client.post(EVENTS, content=source.choice(bodies)))


ACTS: dict[str, Callable[[str, str, float], Awaitable[object]]] = {
    "equal": behave,
    "costly aggregates": ask_costly,
    "unread exports": lambda a, k, s: leave_unread(a, k, s, f"{FLIGHTS}/export?format=csv&distance[gte]=1", 10),
    "unread pages": lambda a, k, s: leave_unread(a, k, s, f"{FLIGHTS}/records?limit=1000", 40),
    "wrong keys": guess_keys,
    "1,200 connections": hold_connections,
    "small bombs": push_bombs,
}
