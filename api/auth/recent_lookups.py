"""What was looked up in the database a moment ago: a caller sends many requests, and is looked up for few of them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from psycopg.rows import TupleRow

from runtime.postgres.database import translate_error
from runtime.postgres.poolers import ConnectionPool

SECONDS = 4.0  # what was revoked or ended elsewhere is refused within 5 s
ENTRIES_MAXIMUM = 10_000
Id = TypeVar("Id", bound=Hashable)
Found = TypeVar("Found")


class RecentLookups(Generic[Id, Found]):
    """The finds of the last few seconds, and what was not found."""

    def __init__(self, look_up: Callable[[Id], Awaitable[Found | None]]) -> None:
        self.look_up = look_up
        self.kept: OrderedDict[Id, tuple[float, Found | None]] = OrderedDict()

    def remembers(self, wanted: Id) -> bool:
        """Whether it was looked up a moment ago."""
        return self.find_kept(wanted) is not None

    async def find(self, wanted: Id) -> Found | None:
        """What there is of this id, as it was a few seconds ago at the most; None where there is nothing."""
        now = time.monotonic()
        if (kept := self.find_kept(wanted)) is not None:
            return kept[1]
        found = await self.look_up(wanted)
        self.keep({wanted: found}, now)
        return found

    def keep(self, found: Mapping[Id, Found | None], since: float | None = None) -> None:
        """Remembers what was looked up, now or at a moment of the monotonic clock."""
        moment = time.monotonic() if since is None else since
        for each, value in found.items():
            self.kept[each] = (moment, value)
        while len(self.kept) > ENTRIES_MAXIMUM:
            self.kept.popitem(last=False)

    def forget(self, changed: Id) -> None:
        """Has it looked up again."""
        self.kept.pop(changed, None)

    def find_kept(self, wanted: Id) -> tuple[float, Found | None] | None:
        """What was found, and when; None where it has to be looked up."""
        kept = self.kept.get(wanted)
        return kept if kept is not None and time.monotonic() - kept[0] < SECONDS else None


async def run_statement(
    pool: ConnectionPool, statement: str, values: Mapping[str, object] | Sequence[object]
) -> list[TupleRow]:
    """The rows of a statement on the write login; none of one that returns nothing."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []
    except Exception as error:
        raise translate_error(error) from error
