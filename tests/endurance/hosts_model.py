"""The product that two hosts serve, and the truth about it: what each revision of its items has to hold."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: depot
name: Depot
version: 1.0.0
status: active
servers:
  - {{server: lake, type: s3, location: "s3://{bucket}/in", endpointUrl: "{endpoint}", format: ndjson}}
schema:
  - name: items
    customProperties:
      - property: input
        value: {{server: lake, path: "*.ndjson", mode: upsert, orderBy: number, watch: true,
                deletes: {{property: gone, equals: true}}}}
      - {{property: maxRejected, value: 100}}
      - {{property: maxDeleted, value: 100}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: number, logicalType: integer, required: true}}
      - {{name: gone, logicalType: boolean}}
  - name: events
    customProperties:
      - {{property: input, value: {{events: true, mode: append}}}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: amount, logicalType: integer, required: true}}
roles:
  - {{role: "depot:read", access: read, customProperties: [{{property: anonymous, value: true}}]}}
"""
KEYS = 3_000
RECORDS = 200  # of a batch, and a few repeats
POISON_SHARE, GONE_SHARE, STALE_SHARE, REPEATED_SHARE = 0.02, 0.06, 0.03, 0.03
POISON = ('{"id": %d, "number": "poison"}', '{"id": %d}', '{"id": %d, "number": 1')


@dataclass(frozen=True)
class Content:
    """Some records, whatever their order."""

    count: int = 0
    checksum: int = 0

    @classmethod
    def of(cls, records: Iterable[tuple[int, int]]) -> Content:
        """The content of these (key, number)."""
        found = list(records)
        return cls(len(found), sum(map(digest, found)))

    def plus(self, record: tuple[int, int]) -> Content:
        """This and one more record."""
        return Content(self.count + 1, self.checksum + digest(record))

    def minus(self, record: tuple[int, int]) -> Content:
        """This without one of its records."""
        return Content(self.count - 1, self.checksum - digest(record))


def digest(record: tuple[int, int]) -> int:
    """A number for a record; the sum of many tells one content from another."""
    return crc32(b"%d=%d" % record)


@dataclass
class Batch:
    """A file of items, and what has to come of its records."""

    lines: list[str] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """raw, accepted, rejected, duplicates."""
        return len(self.lines), self.accepted, self.rejected, self.duplicates


class Items:
    """Every batch of items, and the content of each revision: batch N makes revision N."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.number = 0
        self.current: dict[int, int] = {}
        self.batches: list[Batch] = []
        self.contents = [Content()]  # by revision

    def make(self) -> Batch:
        """The next batch. Its revision is known from now on, before anybody can read it."""
        batch = Batch()
        newest: dict[int, tuple[int, bool]] = {}
        for _ in range(RECORDS):
            key, kind = self.chance.randrange(KEYS), self.chance.random()
            if kind < POISON_SHARE:
                batch.lines.append(self.chance.choice(POISON) % key)
                batch.rejected += 1
                continue
            self.number += 1
            number, gone = self.number, kind > 1 - GONE_SHARE
            if kind < POISON_SHARE + STALE_SHARE:
                number = self.chance.randrange(1, self.number + 1)
            times = 2 if self.chance.random() < REPEATED_SHARE else 1
            batch.lines += [json.dumps({"id": key, "number": number} | ({"gone": True} if gone else {}))] * times
            batch.duplicates += times - 1
            if key in newest:
                batch.duplicates += 1
            if key not in newest or number >= newest[key][0]:
                newest[key] = (number, gone)
        self.apply(batch, newest)
        self.batches.append(batch)
        return batch

    def apply(self, batch: Batch, newest: dict[int, tuple[int, bool]]) -> None:
        """The content after the newest record of each key: one that is older than the current one changes nothing."""
        content = self.contents[-1]
        for key, (number, gone) in newest.items():
            known = self.current.get(key)
            if known is not None and number < known:
                batch.duplicates += 1
                continue
            batch.accepted += 1
            if known is not None:
                content = content.minus((key, self.current.pop(key)))
            if not gone:
                self.current[key] = number
                content = content.plus((key, number))
        self.contents.append(content)


@dataclass
class Receipt:
    """What an API answered to pushed events."""

    address: str
    good: list[int]
    bad: int


class Events:
    """Every event that was pushed and acknowledged."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.next_key = 0

    def make(self, chance: random.Random) -> tuple[str, list[int], int]:
        """A body of events with keys that no other has; the good ones' keys, and how many are bad."""
        events: list[dict[str, object]] = []
        good: list[int] = []
        for _ in range(chance.randint(1, 30)):
            self.next_key += 1
            poison = chance.random() < POISON_SHARE
            events.append({"id": self.next_key, "amount": "poison" if poison else self.next_key * 2})
            if not poison:
                good.append(self.next_key)
        return json.dumps(events), good, len(events) - len(good)

    def total(self) -> Counter[str]:
        """How many were good and bad."""
        good = sum(len(each.good) for each in self.receipts)
        return Counter(good=good, bad=sum(each.bad for each in self.receipts))
