"""Two labs with the same input, of which one judges elsewhere: everything must come out alike."""

from __future__ import annotations

import random
from typing import Any

from catalog.storage.dataset_tables import build_tables
from tests.support.lab import Lab

# Every type, a transform that fails records, rules, a key that repeats, and nested parts.
TYPES = """
apiVersion: v3.1.0
kind: DataContract
id: kinds
version: 1.0.0
status: active
servers: [{server: here, type: local, path: "${DECANT_DATA}", format: csv}]
schema:
  - name: things
    customProperties:
      - {property: input, value: {server: here, path: things.csv, mode: snapshot}}
      - {property: maxRejected, value: 100}
      - {property: maxDeleted, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: small, logicalType: integer, physicalType: smallint}
      - {name: share, logicalType: number, logicalTypeOptions: {minimum: 0, maximum: 1}}
      - {name: price, logicalType: number, physicalType: "numeric(12,4)"}
      - {name: name, logicalType: string, required: true, logicalTypeOptions: {maxLength: 12}}
      - {name: code, logicalType: string, logicalTypeOptions: {format: uuid}}
      - {name: good, logicalType: boolean}
      - {name: born, logicalType: date}
      - {name: at, logicalType: timestamp}
      - {name: clock, logicalType: time}
      - {name: facts, logicalType: object, properties: [{name: n, logicalType: integer}]}
      - {name: tags, logicalType: array, items: {logicalType: string, logicalTypeOptions: {maxLength: 3}}}
      - name: twice
        logicalType: integer
        transformSourceObjects: [small]
        transformLogic: "CAST(small AS INTEGER) * 2"
"""
HEADER = "id,small,share,price,name,code,good,born,at,clock,facts,tags\n"
# The second of each is good.
FIELDS: tuple[tuple[str, ...], ...] = (
    ("", "1", "-7", "40000", "x", "32767"),
    ("", "0.5", "1e-9", "2", "NaN", "0.30000000000000004"),
    ("", "1.5", "99999999.9999", "1.00001", "-0.0001"),
    ("", "Ann", "Ben", "a name that is too long", '"two\nlines"', '"a ""quote"""', "\u00e9\u4e2d", " blank "),
    ("", "123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000", "no"),
    ("", "true", "false", "yes", "1"),
    ("", "1999-12-31", "0001-01-01", "2024-02-30", "9999-12-31"),
    ("", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456+02:00", "yesterday"),
    ("", "23:59:59", "24:00:00", "12:00:00.5"),
    ("", '"{""n"": 1}"', '"{""n"": ""x""}"', '"{""n"": 1, ""m"": 1.50}"', "{"),
    ("", '"[""a"", ""b""]"', '"[""long""]"', "[]", '"[1]"'),
)


def make_things(records: int, seed: int) -> str:
    """A file of so many lines: good, bad, repeated, and malformed ones."""
    chance = random.Random(seed)
    lines = [HEADER]
    for number in range(records):
        fields = [values[1] if chance.random() < 0.9 else chance.choice(values) for values in FIELDS]
        line = ",".join([str(chance.randrange(records)), *fields])
        if chance.random() < 0.01:
            line = chance.choice((f"{number},1", f'{number},"open', f"{line},more,and,more"))
        lines.append(line + "\n")
    return "".join(lines)


def outcome_of(lab: Lab, address: str) -> dict[str, Any]:
    """What a load comes to, with all that it leaves: records with their lines, and rejected records with reasons."""
    report = lab.ingest(address)
    dataset = lab.dataset(address)
    table = build_tables([lab.catalog.product_of(dataset)]).of(dataset).current
    columns = ", ".join(f'"{column.name}"::text' for column in table.c)
    rejected = "file, line, key, raw, reasons::text, state"
    found = report.outcome
    return {
        "status": report.status,
        "error": (report.error_code, report.error),
        # The second lab has a database of its own, and the same home.
        "notes": [note for note in report.notes if "restored from a backup" not in note],
        "counts": (found.raw, found.accepted, found.rejected, found.duplicates) if found else None,
        "records": sorted(lab.rows(f'SELECT {columns} FROM "{table.schema}"."{table.name}"'), key=str),
        "rejected": sorted(
            lab.rows(
                f"SELECT {rejected} FROM decant.rejected_records AS r"
                " JOIN decant.datasets AS d ON d.id = r.dataset_id WHERE d.dataset = %s AND d.product = %s",
                dataset.name,
                dataset.product,
            ),
            key=str,
        ),
    }
