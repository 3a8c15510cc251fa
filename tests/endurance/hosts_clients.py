"""Who asks two hosts while their processes are killed: each compares every answer with what it has to be."""

from __future__ import annotations

import csv
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pyarrow.parquet as pq

from tests.endurance.hosts_model import Content, Events, Items, Receipt

PRODUCT = "/data/depot/v1"
ITEMS, EVENTS = f"{PRODUCT}/items", f"{PRODUCT}/events"
AWAY = {502, 503}  # what may be answered while a process is away
IN_FLIGHT = "request_in_flight"
ANSWER_SECONDS = 300.0  # until a request is answered, however often it is sent: only a failure takes as long
REQUEST_SECONDS = 60.0
AGAIN_SECONDS = 0.3
PAGE = 1_000
FAULT_CHARACTERS = 2_000
FORMATS = ("csv", "ndjson", "parquet", "xlsx")
REPEATED_SHARE = 0.1  # of pushes that are sent again after they were acknowledged


class FaultError(Exception):
    """An answer that is not what it has to be."""


class Caller(threading.Thread):
    """Does one thing again and again until it is over; what is wrong is noted, and it goes on."""

    def __init__(self, name: str, addresses: list[str], seed: int, pause: float, faults: list[str]) -> None:
        """`pause` is in seconds, between two turns."""
        super().__init__(name=name, daemon=True)
        self.addresses = addresses
        self.chance = random.Random(f"{seed} {name}")
        self.pause = pause
        self.faults = faults
        self.tally: Counter[str] = Counter()
        self.over = threading.Event()
        self.client = httpx.Client(timeout=REQUEST_SECONDS)
        self.slowest = (0.0, "")  # seconds until an answer, tries included, and what was asked

    def run(self) -> None:
        """Takes turns."""
        with self.client:
            while not self.over.wait(self.pause * self.chance.uniform(0.5, 1.5)):
                try:
                    self.take_turn()
                except Exception as error:
                    said = f"{self.name}: {type(error).__name__}: {error}"[:FAULT_CHARACTERS]
                    self.faults.append(f"{time.strftime('%H:%M:%S')} {said}")

    def take_turn(self) -> None:
        """One of what it does."""
        raise NotImplementedError

    def ask(self, path: str, *, host: int | None = None, method: str = "GET", **more: Any) -> httpx.Response:
        """The answer of a host, or of one by chance at each try; FaultError for any other than 200 and 202."""
        began = time.monotonic()
        said = ""
        while time.monotonic() - began < ANSWER_SECONDS:
            place = self.chance.randrange(len(self.addresses)) if host is None else host
            try:
                answer = self.client.request(method, f"{self.addresses[place]}{path}", **more)
            except httpx.TransportError as error:
                said = type(error).__name__
                self.tally[
                    "tries that timed out"
                    if isinstance(error, httpx.TimeoutException)
                    else "tries cut off or refused"
                ] += 1
            else:
                if answer.status_code in {200, 202}:
                    self.tally["answers"] += 1
                    self.slowest = max(self.slowest, (time.monotonic() - began, path))
                    return answer
                said = f"{answer.status_code} {answer.text[:600]}"
                if answer.status_code not in AWAY and IN_FLIGHT not in answer.text:
                    raise FaultError(f"{method} {path} at {place + 1}: {said}")
                self.tally[f"tries answered {answer.status_code}"] += 1
            time.sleep(AGAIN_SECONDS)
        raise FaultError(f"{method} {path}: not answered in {ANSWER_SECONDS:.0f} s, last {said}")

    def find_revision(self) -> int:
        """The current revision of items, as some host has it."""
        return int(self.ask(f"{ITEMS}/records?limit=1").headers["Decant-Revision"])


def expect(found: object, wanted: object, what: str) -> None:
    """FaultError where the two differ."""
    if found != wanted:
        raise FaultError(f"{what}: {found} instead of {wanted}")


class Walker(Caller):
    """Walks over all items of one revision, each page at another host."""

    def __init__(self, items: Items, *given: Any) -> None:
        super().__init__(*given)
        self.items = items
        self.newest = 0

    def take_turn(self) -> None:
        """One walk; of four one is of an older revision."""
        older = self.newest and self.chance.random() < 0.25
        pin = f"&at={self.chance.randint(1, self.newest)}" if older else ""
        sort = self.chance.choice(["", "&sort=-number", "&sort=id"])
        address: str | None = f"{ITEMS}/records?limit={PAGE}{sort}{pin}"
        revisions: set[int] = set()
        records: list[tuple[int, int]] = []
        while address is not None:
            page = self.ask(address).json()
            revisions.add(page["revision"])
            records += [(each["id"], each["number"]) for each in page["data"]]
            address = page["next"]
        expect(len(revisions), 1, f"revisions {revisions} in one walk")
        (revision,) = revisions
        expect(Content.of(records), self.items.contents[revision], f"walk of revision {revision}{sort}{pin}")
        self.newest = max(self.newest, revision)
        self.tally["walks"] += 1


class Copier(Caller):
    """Keeps a copy of the items by /changes."""

    def __init__(self, items: Items, *given: Any) -> None:
        super().__init__(*given)
        self.items = items
        self.copy: dict[int, int] = {}
        self.revision = 0

    def take_turn(self) -> None:
        """Brings the copy to the newest revision that the asked host knows."""
        known = {"Decant-Min-Revision": str(self.revision)} if self.revision else {}
        copy = dict(self.copy)
        address: str | None = f"{ITEMS}/changes?since={self.revision}&limit={PAGE}"
        while address is not None:
            page = self.ask(address, headers=known).json()
            for change in page["data"]:
                if change["record"] is None:
                    del copy[int(change["key"]["id"])]
                else:
                    copy[change["record"]["id"]] = change["record"]["number"]
            address = page["next"]
        revision = page["next_since"]
        expect(Content.of(copy.items()), self.items.contents[revision], f"changes {self.revision} to {revision}")
        if revision < self.revision:
            raise FaultError(f"changes lead back from {self.revision} to {revision}")
        self.tally["walks of changes"] += 1
        self.tally["revisions followed"] += revision - self.revision
        self.copy, self.revision = copy, revision


class Downloader(Caller):
    """Downloads exports of one revision from both hosts."""

    def __init__(self, items: Items, *given: Any) -> None:
        super().__init__(*given)
        self.items = items
        self.digests: dict[tuple[int, str], str] = {}

    def take_turn(self) -> None:
        """One revision in one format, new or old: the same bytes from both hosts, complete."""
        newest = self.find_revision()
        if not newest:
            return
        revision = newest if self.chance.random() < 0.7 else self.chance.randint(1, newest)
        kind = self.chance.choice(FORMATS)
        for host in self.chance.sample(range(len(self.addresses)), len(self.addresses)):
            path = f"{ITEMS}/export?format={kind}&at={revision}"
            content = self.ask(path, host=host, headers={"Decant-Min-Revision": str(revision)}).content
            what = f"{kind} of revision {revision} from host {host + 1}"
            if (parse := PARSERS.get(kind)) is not None:
                expect(Content.of(parse(content)), self.items.contents[revision], what)
            digest = sha256(content).hexdigest()
            expect(digest, self.digests.setdefault((revision, kind), digest), f"bytes of {what}")
            self.tally["exports"] += 1


def parse_csv(content: bytes) -> list[tuple[int, int]]:
    """The (id, number) of an export."""
    return [(int(row["id"]), int(row["number"])) for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig")))]


def parse_ndjson(content: bytes) -> list[tuple[int, int]]:
    """The (id, number) of an export."""
    rows = map(json.loads, content.splitlines())
    return [(row["id"], row["number"]) for row in rows]


def parse_parquet(content: bytes) -> list[tuple[int, int]]:
    """The (id, number) of an export."""
    table = pq.read_table(io.BytesIO(content), columns=["id", "number"])
    return list(zip(table["id"].to_pylist(), table["number"].to_pylist(), strict=True))


PARSERS: dict[str, Callable[[bytes], list[tuple[int, int]]]] = {
    "csv": parse_csv,
    "ndjson": parse_ndjson,
    "parquet": parse_parquet,
}


class Pusher(Caller):
    """Pushes events to either host until they are acknowledged, some of them once more after that."""

    def __init__(self, events: Events, lock: threading.Lock, key: dict[str, str], *given: Any) -> None:
        super().__init__(*given)
        self.events = events
        self.lock = lock
        self.key = key

    def take_turn(self) -> None:
        """One request, which counts when it is acknowledged: until then it is sent again."""
        with self.lock:
            body, good, bad = self.events.make(self.chance)
        name = {"Idempotency-Key": f'"{self.name}-{self.tally["pushes"]}"', "Content-Type": "application/json"}
        sent: dict[str, Any] = {"method": "POST", "content": body, "headers": self.key | name}
        self.tally["pushes"] += 1
        receipt = self.ask(f"{EVENTS}/events", **sent).json()
        self.events.receipts.append(Receipt(receipt["status_url"], good, bad))
        if self.chance.random() < REPEATED_SHARE:
            again = self.ask(f"{EVENTS}/events", **sent).json()
            expect(again["status_url"], receipt["status_url"], "a repeated push")
            self.tally["pushes repeated"] += 1
