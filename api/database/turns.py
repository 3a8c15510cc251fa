"""Fair queueing for scarce resources, such as connections and exports, by caller.

Whoever holds their share waits for themselves, not for others; those who wait have their turns one caller after
another, however many questions each of them asks.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.auth.caller import CALLING
from runtime.errors import BusyError

WAITING_MAXIMUM = 1000
WAITING_SHARE = 4  # one caller may be this part of those who wait


TurnKey = tuple[str, bool]  # the caller, and whether what they ask is costly


class Turns:
    """At most `size` turns at a time, `each` of one caller, `costly` of costly questions."""

    def __init__(self, size: int, *, what: str, each: int | None = None, costly: int | None = None) -> None:
        self.free = size
        self.what = what  # in the message when the wait ends without a turn
        self.each = each or max(size - max(size // 4, 1), 1)
        self.costly = costly or max(size // 2, 1)
        self.each_costly = max(self.costly // 4, 1)
        self.held: Counter[str] = Counter()
        self.held_costly: Counter[str] = Counter()
        self.waiting: OrderedDict[TurnKey, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def length(self) -> int:
        """How many wait."""
        return sum(map(len, self.waiting.values()))

    def allows(self, caller: str, costly: bool) -> bool:
        """Whether the caller may have a turn now."""
        if not self.free:
            return False
        if not caller:
            return True
        if self.held[caller] >= self.each:
            return False
        return not costly or (self.held_costly.total() < self.costly and self.held_costly[caller] < self.each_costly)

    def take(self, caller: str, costly: bool) -> None:
        """Notes a turn that is allowed."""
        self.free -= 1
        self.held[caller] += 1
        if costly:
            self.held_costly[caller] += 1

    async def acquire(self, caller: str, costly: bool, seconds: float) -> None:
        """A turn, at once or waited for; BusyError when the wait is too long. It ends with `give_back`."""
        if self.allows(caller, costly):
            self.take(caller, costly)
        else:
            await self.wait(caller, costly, seconds)

    def give_back(self, caller: str, costly: bool) -> None:
        """Ends a turn, and lets those follow who may."""
        self.free += 1
        lower(self.held, caller)
        if costly:
            lower(self.held_costly, caller)
        if self.waiting:
            self.wake()

    async def wait(self, caller: str, costly: bool, seconds: float) -> None:
        """Waits for a turn; BusyError when the wait is too long, or the queue is full."""
        queue = self.waiting.get((caller, costly)) or deque()
        if self.length >= WAITING_MAXIMUM or len(queue) >= WAITING_MAXIMUM // WAITING_SHARE:
            raise BusyError(f"Too many requests wait for {self.what}.")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(future)
        self.waiting[caller, costly] = queue
        try:
            async with asyncio.timeout(seconds):
                await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                self.give_back(caller, costly)  # it came too late
            else:
                future.cancel()
            if isinstance(error, TimeoutError):
                own = self.held[caller] >= self.each or (costly and self.held_costly[caller] >= self.each_costly)
                whose = "your own requests" if own else "others"
                raise BusyError(f"All {self.what} are in use by {whose}.") from None
            raise

    def wake(self) -> None:
        """Gives turns to those who wait, one caller after another, as long as anybody may have one."""
        for key in list(self.waiting):
            queue = self.waiting[key]
            while queue and queue[0].done():
                queue.popleft()
            if queue and self.allows(*key):
                self.take(*key)
                queue.popleft().set_result(None)
                self.waiting.move_to_end(key)
            if not queue:
                del self.waiting[key]
            if not self.free:
                return

    @asynccontextmanager
    async def turn(self, seconds: float, *, costly: bool = False) -> AsyncIterator[None]:
        """A turn of the current caller, waited for no longer than some seconds."""
        caller = CALLING.get().name
        await self.acquire(caller, costly, seconds)
        try:
            yield
        finally:
            self.give_back(caller, costly)


def lower(counts: Counter[str], name: str) -> None:
    """One less; nobody is kept at nought."""
    if counts[name] > 1:
        counts[name] -= 1
    else:
        del counts[name]
