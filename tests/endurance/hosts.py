"""Two hosts that share a bucket and no disk, and a pooler before the API's read login, for a while: a worker and an
API on each are killed again and again, the pooler too; a host loses its disk, and the bucket server stands still.

Meanwhile a producer writes batches into a watched bucket, others push events to either API, walk over revisions,
follow their changes and download exports. At the end every record is counted.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.endurance import hosts_count
from tests.endurance.hosts_clients import Caller, Copier, Downloader, Pusher, Walker
from tests.endurance.hosts_model import Events, Items
from tests.endurance.hosts_parts import Pooler, Program, Site, open_site
from tests.support.lab import Lab
from tests.support.pushing import make_key

PACE = 1.0  # what the pauses of producer and callers are multiplied by
PAUSES = (5.0, 20.0)  # seconds between two kills
DEAD_SECONDS = 3.0  # at most, until what was killed is started again
STILL_SECONDS = (2.0, 8.0)  # for which the bucket server stands still
PUT_SECONDS = 60.0
BACKLOG = 15  # batches that wait to be loaded, at most
QUIET_SECONDS = 300.0  # until everything is loaded after the last kill: only a failure takes as long
LOOK_SECONDS = 0.5
JOIN_SECONDS = 400.0
MANY_FAULTS = 20  # more of them say nothing new


class Producer(Caller):
    """Writes batches of items into the watched bucket."""

    def __init__(self, items: Items, site: Site, lock: threading.Lock, seed: int, pause: float, faults: list[str]):
        super().__init__("producer", site.addresses, seed, pause, faults)
        self.items = items
        self.lab = site.lab
        self.folder = site.source
        self.lock = lock  # nothing is on its way to a bucket server that stands still: a repeat would be a new file

    def take_turn(self) -> None:
        """One batch; its name says its place. None where many wait: what is left at the end is loaded soon."""
        if len(self.items.batches) - hosts_count.find_revision(self.lab) >= BACKLOG:
            self.tally["turns without a batch: many wait"] += 1
            return
        with self.lock:
            batch = self.items.make()
            content = "".join(f"{line}\n" for line in batch.lines).encode()
            name = f"{self.folder}/{len(self.items.batches):08}.ndjson"
            self.client.put(name, content=content, timeout=PUT_SECONDS).raise_for_status()
        self.tally["batches"] += 1
        self.tally["records in batches"] += len(batch.lines)


@dataclass
class HostsRun:
    """Everybody who takes part."""

    site: Site
    seed: int
    pace: float
    pauses: tuple[float, float]
    faults: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.items = Items(random.Random(self.seed + 1))
        self.events = Events()
        self.producer = Producer(self.items, self.site, self.lock, self.seed, 4 * self.pace, self.faults)
        key = make_key(self.site.lab, "depot:write", "ops:read")
        self.key = key
        pushing = threading.Lock()

        def given(name: str, pause: float) -> tuple[str, list[str], int, float, list[str]]:
            return name, self.site.addresses, self.seed, pause * self.pace, self.faults

        self.callers: list[Caller] = [
            *(Walker(self.items, *given(f"walker {number}", 2.5)) for number in (1, 2)),
            Copier(self.items, *given("copier", 2)),
            Downloader(self.items, *given("downloader", 5)),
            *(Pusher(self.events, pushing, key, *given(f"pusher {number}", 6)) for number in (1, 2)),
        ]

    def run(self, seconds: float, say: Callable[[str], None]) -> None:
        """Kills for so long, then waits until everything is loaded."""
        everybody = [self.producer, *self.callers]
        self.site.wait_until_ready()
        for each in everybody:
            each.start()
        over_at = time.monotonic() + seconds
        said_at = time.monotonic()
        while time.monotonic() < over_at and len(self.faults) < MANY_FAULTS:
            time.sleep(min(self.chance.uniform(*self.pauses), max(over_at - time.monotonic(), 0)))
            self.kill()
            if time.monotonic() - said_at > 60:
                said_at = time.monotonic()
                say(f"{sum(self.kills.values())} kills, {len(self.items.batches)} batches, {len(self.faults)} faults")
        for each in everybody:  # callers ask on while the rest is loaded
            if isinstance(each, Producer | Pusher):
                each.over.set()
                each.join(JOIN_SECONDS)
        self.wait()
        self.faults += [f"{each.name} ended by itself" for each in self.site.programs if each.is_dead()]
        time.sleep(2 * self.pace)
        for each in self.callers:
            each.over.set()
        for each in self.callers:
            each.join(JOIN_SECONDS)
            if each.is_alive():
                self.faults.append(f"{each.name} does not end")

    def kill(self) -> None:
        """Kills one part and starts it again, or lets the bucket server stand still."""
        kind = self.chance.random()
        if kind < 0.1:
            with self.lock, self.site.buckets_paused():
                time.sleep(self.chance.uniform(*STILL_SECONDS))
            self.kills["bucket server stood still"] += 1
            return
        program = self.chance.choice(self.site.programs)
        is_lost = 0.2 <= kind < 0.25
        parts: Sequence[Program | Pooler] = [program]
        name = f"{program.name} killed"
        if kind < 0.2:
            parts, name = [self.site.pooler], "pooler killed"
        elif is_lost:
            parts, name = self.site.on_host(program.host), f"host {program.host} lost with its disk"
        for part in parts:
            if (words := part.kill()) is not None:
                self.faults.append(f"{name}: it had ended by itself: {words}")
        if is_lost:
            shutil.rmtree(self.site.home(program.host), ignore_errors=True)  # no process may have made it yet
        time.sleep(self.chance.uniform(0, DEAD_SECONDS))
        for part in parts:
            part.start()
        self.kills[name] += 1

    def wait(self) -> None:
        """Returns when nothing is left to load."""
        deadline = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < deadline:
            if hosts_count.is_quiet(self.site.lab, len(self.items.batches)):
                return
            time.sleep(LOOK_SECONDS)
        self.faults.append(f"not everything was loaded in {QUIET_SECONDS:.0f} s")


def run_hosts(
    make_lab: Callable[..., Lab],
    server: EmbeddedPostgres,
    folder: Path,
    seconds: float,
    seed: int,
    say: Callable[[str], None],
    *,
    pace: float = PACE,
    pauses: tuple[float, float] = PAUSES,
) -> Counter[str]:
    """What was killed how often; an AssertionError that names what did not hold."""
    with open_site(make_lab, server, folder) as site:
        run = HostsRun(site, seed, pace, pauses)
        run.run(seconds, say)
        tally: Counter[str] = sum((each.tally for each in [run.producer, *run.callers]), Counter())
        checked = hosts_count.count_everything(site, run.items, run.events, run.key, run.faults)
        rows = [*sorted(run.kills.items()), *sorted(tally.items()), *checked.items(), ("faults", len(run.faults))]
        for name, number in rows:
            say(f"{name:<50}{number:>12,}")
        slowest, path = max(each.slowest for each in run.callers)
        say(f"{'slowest answer, tries included (s)':<50}{slowest:>12,.1f}")
        say(f"slowest: {path[:60]}")
        for line, times in Counter(line[:50] for line in site.log_errors()).most_common(12):
            say(f"log: {line:<50} {times:>6,}")
        assert not run.faults, "\n".join(run.faults)
        return run.kills
