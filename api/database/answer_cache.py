"""Response cache by entity tag: bounded in bytes; concurrent requests for one entry build it once.

A tag names revision, contract, view, query, media type and coding; so nothing is ever invalidated. What belongs to an
older revision is no longer asked for, and leaves as the least recently used.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from runtime.errors import BusyError

ENTRY_OVERHEAD_BYTES = 1000  # headers, keys, objects
SHARE_OF_LARGEST = 8  # what is larger than this part of the whole is not kept


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer that is ready to leave: its tag, its headers that are the same for everybody, its body."""

    tag: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    revision: int


class PageCache:
    """The finished answers of a process."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.entries: OrderedDict[str, Finished] = OrderedDict()
        self.bytes = 0
        self.making: dict[str, asyncio.Future[Finished | Exception | None]] = {}

    def get(self, tag: str) -> Finished | None:
        """The answer with this tag, if it is here."""
        found = self.entries.get(tag)
        if found is not None:
            self.entries.move_to_end(tag)
        return found

    async def make(self, tag: str, make: Callable[[], Awaitable[Finished]]) -> Finished:
        """The answer, made now; callers that ask for it meanwhile wait for the same one.

        A newer revision may have come: then the answer bears another tag than the one that was asked for.
        """
        if self.limit_bytes == 0:
            return await make()
        while (waited := self.making.get(tag)) is not None:
            outcome = await asyncio.shield(waited)
            if isinstance(outcome, Finished):
                return outcome
            if isinstance(outcome, Exception):
                raise outcome
            # Its maker was cancelled, or had no turn; the next in line does it.
        future: asyncio.Future[Finished | Exception | None] = asyncio.get_running_loop().create_future()
        self.making[tag] = future
        outcome = None
        try:
            outcome = await make()
        except BusyError:
            raise  # the first caller's share: the next in line asks in its own name
        except Exception as error:
            outcome = error
            raise
        finally:
            del self.making[tag]
            future.set_result(outcome)
        self.keep(outcome)
        return outcome

    def keep(self, finished: Finished) -> None:
        """Keeps an answer, and lets those go that were not asked for longest."""
        size = len(finished.body) + ENTRY_OVERHEAD_BYTES
        if size * SHARE_OF_LARGEST > self.limit_bytes:
            return
        previous = self.entries.pop(finished.tag, None)
        if previous is not None:
            self.bytes -= len(previous.body) + ENTRY_OVERHEAD_BYTES
        self.entries[finished.tag] = finished
        self.bytes += size
        while self.bytes > self.limit_bytes:
            _, oldest = self.entries.popitem(last=False)
            self.bytes -= len(oldest.body) + ENTRY_OVERHEAD_BYTES
