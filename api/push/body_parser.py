"""Bodies of pushes -> packed records: short ones at once, longer ones in a thread, large ones in another process.

Much of the work on a text of megabytes is one call that lets no other thread of Python run meanwhile. In a process of
its own it takes its turn with everybody else's requests by the operating system, and a lower one.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from starlette.concurrency import run_in_threadpool

from api.http.problems import Problem
from api.push.event_body import PushMediaType, parse_records
from api.push.event_store import PackedRecords, pack_records
from runtime.worker_process import start_worker_process

THREAD_FROM_BYTES = 16_384  # shorter bodies are parsed before a thread would have begun
PROCESS_FROM_BYTES = 1_000_000  # that a thread parses within milliseconds


class BodyParser:
    """Parses one body at a time in a thread, one in a process: more would only take more memory, not less time."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.process: ProcessPoolExecutor | None = None

    async def parse(self, media_type: PushMediaType, body: bytes) -> tuple[PackedRecords, str]:
        """The records of a body, ready for the database, and the digest that identifies it."""
        if len(body) < THREAD_FROM_BYTES:
            return parse_body(media_type, body)
        if len(body) >= PROCESS_FROM_BYTES:
            return await self.parse_apart(media_type, body)
        async with self.turn:
            return await run_in_threadpool(parse_body, media_type, body)

    async def parse_apart(self, media_type: PushMediaType, body: bytes) -> tuple[PackedRecords, str]:
        """The same in the process, which begins with the first large body; `overloaded` where it was killed."""
        if self.process is None:
            self.process = start_worker_process()
        try:
            return await asyncio.get_running_loop().run_in_executor(self.process, parse_body, media_type, body)
        except BrokenProcessPool:
            self.process = None
            raise Problem("overloaded") from None

    async def close(self) -> None:
        """Ends the process, where one began; what it parses now nobody waits for."""
        if self.process is not None:
            await asyncio.to_thread(self.process.shutdown, cancel_futures=True)


def parse_body(media_type: PushMediaType, body: bytes) -> tuple[PackedRecords, str]:
    """The records of a body, ready for the database, and the digest that identifies it."""
    digest = hashlib.sha256(media_type.media_type.encode())
    for name, value in sorted(media_type.attributes.items()):
        digest.update(f"\n{name}:{value}".encode())
    digest.update(b"\n\n" + body)
    return pack_records(parse_records(media_type, body)), digest.hexdigest()
