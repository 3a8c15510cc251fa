"""Other files made of the flights: some records changed, or nothing but their order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

CHANGED_EVERY = 100  # one record in a hundred
CHANGED_COLUMN = b"air_time"  # whole minutes, bound by no rule to any other column
EVERYWHERE_COLUMN = b"distance"  # the one that every flight has and no other column is bound to


@dataclass(frozen=True)
class Variants:
    """The files, and how many records `changed` changes."""

    original: Path
    reordered: Path  # the same records, the last one first
    changed: Path
    changed_count: int


def make_variants(original: Path) -> Variants:
    """The variants, written beside the original."""
    header, *records = original.read_bytes().splitlines()
    reordered, changed = original.with_name("reordered.csv"), original.with_name("changed.csv")
    reordered.write_bytes(b"\n".join([header, *reversed(records), b""]))
    # A second pass over the list would change what `reordered` was made of: the change works on a copy.
    edited = list(records)
    count = change_records(edited, header.split(b",").index(CHANGED_COLUMN))
    changed.write_bytes(b"\n".join([header, *edited, b""]))
    return Variants(original, reordered, changed, count)


def change_records(records: list[bytes], column: int) -> int:
    """How many records were changed in place: one per CHANGED_EVERY, the first of each that has a value."""
    count = 0
    for start in range(0, len(records) - CHANGED_EVERY + 1, CHANGED_EVERY):
        for index in range(start, start + CHANGED_EVERY):
            fields = records[index].split(b",")
            if fields[column].isdigit():
                fields[column] = b"%d" % (int(fields[column]) + 1)
                records[index] = b",".join(fields)
                count += 1
                break
    if count < len(records) // CHANGED_EVERY * 0.99:
        raise BenchError(f"Only {count} of {len(records)} records could be changed: is this the file of flights?")
    return count


def write_generation(original: Path, target: Path, number: int) -> None:
    """Nothing comes back; `target` has the flights of `original`, each so many miles longer."""
    header, *records = original.read_bytes().splitlines()
    column = header.split(b",").index(EVERYWHERE_COLUMN)
    for index, record in enumerate(records):
        fields = record.split(b",")
        fields[column] = b"%d" % (int(fields[column]) + number)
        records[index] = b",".join(fields)
    target.write_bytes(b"\n".join([header, *records, b""]))
