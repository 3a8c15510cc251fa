"""All open streams of a process: how many there may be, and what wakes them.

A follower costs no statement: heads are read for all readers of the process, and rights for all followers at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from api.database.published_heads import DatasetKey, Head, Heads
from api.following.follower import Follower
from api.following.rights import JUDGED_SECONDS, Rights
from api.http.problems import Problem
from runtime.settings.settings import Settings

RETRY_SECONDS = 10  # for whoever finds no room


class Followers:
    """The open streams of this process, by dataset."""

    def __init__(self, settings: Settings, heads: Heads, rights: Rights, most: int) -> None:
        self.heads = heads
        self.rights = rights
        self.most = most
        self.of_principal = settings.followers_of_principal
        self.of_address = settings.followers_of_address
        self.open: dict[DatasetKey, dict[Follower, None]] = {}
        self.by_caller: Counter[str] = Counter()
        self.epoch = heads.epoch
        self.number = 0

    @contextmanager
    def admit(self, follower: Follower) -> Iterator[None]:
        """Holds a follower's place; `rate_limited` or `overloaded` where there is none."""
        self.check_room(follower)
        name, key = follower.caller.name, follower.key
        self.number += 1
        self.by_caller[name] += 1
        self.open.setdefault(key, {})[follower] = None
        try:
            yield
        finally:
            self.number -= 1
            self.by_caller[name] -= 1
            if not self.by_caller[name]:
                del self.by_caller[name]
            del self.open[key][follower]
            if not self.open[key]:
                del self.open[key]

    def check_room(self, follower: Follower) -> None:
        """Nothing comes back where there is room for a follower."""
        headers = {"Retry-After": str(RETRY_SECONDS)}
        most = self.of_address if follower.caller.principal.id is None else self.of_principal
        if self.by_caller[follower.caller.name] >= most:
            raise Problem("rate_limited", f"The caller has {most} open streams: end one first.", headers=headers)
        if self.number >= self.most:
            raise Problem("overloaded", "The service is at its limit of open streams: retry.", headers=headers)

    def note(self, read: Mapping[DatasetKey, Head]) -> None:
        """Wakes the followers of datasets whose heads were read; all of them where the epoch is another one."""
        if self.heads.epoch != self.epoch:
            self.epoch = self.heads.epoch
            keys = set(self.open)
        else:
            keys = self.open.keys() & read.keys()
        for key in keys:
            for follower in self.open[key]:
                follower.wake.set()

    async def run(self) -> None:
        """Judges rights until it is cancelled."""
        while True:
            await asyncio.sleep(JUDGED_SECONDS)
            followers = [follower for members in self.open.values() for follower in members]
            if not followers:
                continue
            await self.rights.judge(followers)
            for follower in followers:
                follower.find_head()  # a dataset that is gone is in no report
