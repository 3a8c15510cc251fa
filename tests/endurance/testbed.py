"""A product to be hard on: batches that are told apart at a glance, with a share of bad records."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.support.lab import Lab

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: plant
version: 1.0.0
status: active
servers: [{server: here, type: local, path: "${DECANT_DATA}", format: csv}]
schema:
  - name: meters
    customProperties:
      - {property: input, value: {server: here, path: meters.csv, mode: snapshot}}
    properties:
      - {name: meter, logicalType: string, primaryKey: true}
  - name: readings
    customProperties:
      - {property: input, value: {server: here, path: readings.csv, mode: snapshot}}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: batch, logicalType: integer, required: true, customProperties: [{property: indexed, value: true}]}
      - {name: meter, logicalType: string, required: true, relationships: [{to: meters.meter}]}
      - {name: value, logicalType: number, logicalTypeOptions: {minimum: 0}}
"""
METERS = ("north", "south", "east")
BAD_LINES = ("{id},{batch},north,-1\n", '{id},{batch},"north,1\n', "{id},{batch},nowhere,1\n")


@dataclass(frozen=True)
class Batch:
    """One file of readings, and what must come of it."""

    number: int
    content: str
    good: dict[int, str]  # id -> meter
    rejected: int
    duplicates: int

    @property
    def raw(self) -> int:
        """Every line but the header."""
        return len(self.good) + self.rejected + self.duplicates


def make_batch(number: int, records: int, chance: random.Random) -> Batch:
    """A batch of about so many records; a hundredth of them bad, a hundredth there twice.

    Bad ones have ids of their own, which no good record ever has: in a snapshot they would count as present.
    """
    lines = ["id,batch,meter,value\n"]
    good: dict[int, str] = {}
    rejected = duplicates = 0
    for key in chance.sample(range(records * 2), records):
        fate = chance.random()
        if fate < 0.01:
            lines.append(chance.choice(BAD_LINES).format(id=records * 10 + key, batch=number))
            rejected += 1
            continue
        if fate < 0.02:
            lines.append(f"{key},{number},south,1\n")
            duplicates += 1
        good[key] = chance.choice(METERS)
        lines.append(f"{key},{number},{good[key]},{chance.randrange(1000) / 10}\n")
    return Batch(number, "".join(lines), good, rejected, duplicates)


def prepare(lab: Lab) -> None:
    """Loads the meters that every reading needs."""
    report = lab.ingest("plant.meters", "meter\n" + "".join(f"{meter}\n" for meter in METERS), "meters.csv")
    assert report.status == "published", report
