"""Records that only Postgres can refuse: each is rejected alone, with what Postgres says."""

from __future__ import annotations

import io
import json
import random
import string
import uuid
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from ingest.cleaning import published_snapshot
from ingest.publishing.refused_records import find_records, read_record
from tests.support.lab import Lab

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: long
name: Long
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: ndjson}
schema:
  - name: things
    customProperties:
      - property: input
        value: {server: here, path: things.json, mode: MODE}
      - {property: maxDeleted, value: 100}
      - {property: maxRejected, value: 100}
    properties:
      - {name: key, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
      - {name: part, logicalType: string, primaryKey: true, primaryKeyPosition: 2}
      - {name: note, logicalType: string, customProperties: [{property: indexed, value: true}]}
      - name: tags
        logicalType: array
        physicalType: "text[]"
        items: {logicalType: string}
        customProperties: [{property: indexed, value: true}]
      - {name: text, logicalType: string, customProperties: [{property: searchable, value: true}]}
      - {name: free, logicalType: string}
      - {name: facts, logicalType: object}
roles:
  - {role: "long:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
SIGNS = string.ascii_letters + string.digits + "éß"
CHANCE = random.Random(7)


def noise(size: int) -> str:
    """Text that no compression makes shorter."""
    return "".join(
        CHANCE.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789éß") for _ in range(size)
    )


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps({"part": "p"} | record) + "\n" for record in records)


GOOD = [
    {"key": "a", "note": "x", "tags": ["t"], "text": "some words", "free": noise(50_000), "facts": {"k": [1]}},
    {"key": "b" * 2000, "note": "y" * 100_000},  # long, and short when it is compressed
    {"key": "c", "text": "z" * 300_000, "tags": []},
]
BAD = [
    ({"key": noise(3000)}, "key", "too long for an index"),
    ({"key": noise(1800), "part": noise(1800)}, None, "too long for an index"),
    ({"key": "d", "note": noise(8000)}, "note", "too long for an index"),
    ({"key": "e", "tags": ["short", noise(4000)]}, "tags", "too long for an index"),
]


def rejected(lab: Lab) -> list[tuple[str | None, str, str, str]]:
    rows = lab.rows("SELECT reasons, raw FROM decant.rejected_records WHERE state = 'open' ORDER BY line")
    return [(r[0]["property"], r[0]["rule"], r[0]["message"], raw) for r, raw in rows]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["upsert", "snapshot"])
def test_what_an_index_cannot_take_is_rejected_alone(
    make_lab: Callable[..., Lab], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_snapshot, "SNAPSHOT_FROM_RECORDS", 1)
    lab = make_lab(CONTRACT.replace("MODE", mode))
    bad = [record for record, _, _ in BAD]
    indexes = lab.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'long_v1' ORDER BY 1")
    # Into an empty table, into one that holds something, and all of them once more.
    for turn, batch in enumerate(([*GOOD, *bad], [GOOD[0] | {"note": "new"}, *bad, *GOOD[1:]], [*bad, *GOOD])):
        report = lab.ingest("long.things", lines(*batch), "things.json")
        assert report.outcome, report.error
        outcome = report.outcome
        found = rejected(lab)
        assert (outcome.raw, outcome.accepted, outcome.rejected, outcome.duplicates) == (7, 3, 4, 0), found
        assert outcome.inserted + outcome.updated == (3, 1, 1)[turn]
        assert lab.rows("SELECT key FROM long_v1.things ORDER BY key") == [(one["key"],) for one in GOOD]
        assert len(found) == 4
        for name, rule, message, raw in found:
            ((_, wanted, words),) = [one for one in BAD if json.loads(raw)["key"] == one[0]["key"]]
            assert rule == "refused"
            assert words in message
            assert "tried" not in message
            assert wanted in {name, None}
        assert lab.rows("SELECT indexname FROM pg_indexes WHERE schemaname = 'long_v1' ORDER BY 1") == indexes
        assert lab.rows("SELECT 1 FROM decant.parked_indexes") == []
        assert lab.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'decant_staging'") == []
    # Nothing of this was a failure, to be tried again.
    assert lab.rows("SELECT DISTINCT status FROM decant.loads") == [("published",)]


@pytest.mark.slow
def test_a_value_that_is_shorter_takes_the_place_of_the_refused_one(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(CONTRACT.replace("MODE", "upsert"))
    lab.ingest("long.things", lines({"key": "d", "note": noise(8000)}, {"key": "a"}), "things.json")
    assert len(rejected(lab)) == 1
    lab.ingest("long.things", lines({"key": "d", "note": "short"}), "things.json")
    assert lab.rows("SELECT key, note FROM long_v1.things ORDER BY key") == [("a", None), ("d", "short")]
    assert lab.rows("SELECT state FROM decant.rejected_records") == [("superseded",)]


@pytest.mark.slow
def test_more_refused_records_than_can_be_told_apart_fail_the_load_once(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ingest.publishing.refused_records as module

    monkeypatch.setattr(module, "REFUSED_MOST", 2)
    lab = make_lab(CONTRACT.replace("MODE", "upsert"))
    report = lab.ingest("long.things", lines(*GOOD, *(record for record, _, _ in BAD)), "things.json")
    assert (report.status, report.error_code) == ("failed", "database_refused")
    assert "index row" in (report.error or "")
    assert lab.ingest("long.things", lines(*GOOD), "things.json").status == "published"
    assert lab.rows("SELECT 1 FROM decant.parked_indexes") == []


WIDE = """
apiVersion: v3.1.0
kind: DataContract
id: wide
name: Wide
version: 1.0.0
status: active
servers: [{server: here, type: local, path: "${DECANT_DATA}", format: csv}]
schema:
  - name: wide
    customProperties:
      - {property: input, value: {server: here, path: wide.csv, mode: upsert}}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
"""
WIDTH = 520  # of values of 16 bytes; a row takes 8,160
FILLED = {1: 480, 2: WIDTH, 3: 1}  # key: how many of them
NAMES = [f"p{number}" for number in range(WIDTH)]
PROPERTIES = "".join(f"      - {{name: {name}, logicalType: string, physicalType: uuid}}\n" for name in NAMES)
WIDEST = WIDE + PROPERTIES + 'roles: [{role: "wide:read", access: read}]\n'


def wide_rows() -> list[str]:
    """The records as CSV."""
    return [
        ",".join([str(key), *("" if number >= most else str(uuid.uuid4()) for number in range(WIDTH))])
        for key, most in FILLED.items()
    ]


@pytest.mark.slow
def test_a_load_of_a_wide_dataset_rejects_the_record_that_no_row_can_hold(make_lab: Callable[..., Lab]) -> None:
    # As texts, the values of the first record do not fit into a row either.
    lab = make_lab(WIDEST)
    report = lab.ingest("wide.wide", "\n".join([",".join(["id", *NAMES]), *wide_rows(), ""]), "wide.csv")
    assert report.status == "published", report.error
    assert lab.rows("SELECT id, num_nonnulls(p0, p479) FROM wide_v1.wide ORDER BY id") == [(1, 2), (3, 1)]
    ((name, rule, message, raw),) = rejected(lab)
    assert (name, rule, raw[:2]) == (None, "refused", "2,")
    assert "row is too big" in message


def test_records_of_a_file_are_found_again_with_all_their_values() -> None:
    records = [
        (b'1,"a ""b"", c\nd",,""\n', ["1", 'a "b", c\nd', None, ""]),
        ('2,é,"\n\n",x\n'.encode(), ["2", "é", "\n\n", "x"]),
        (b',"""",,\n', [None, '"', None, None]),
        (b'4,"' + b"z" * 200_000 + b'",,5', ["4", "z" * 200_000, None, "5"]),
    ]
    source = io.BytesIO(b"".join(text for text, _ in records))
    places = find_records(source)
    assert [read_record(source, *span) for span in pairwise(places)] == [values for _, values in records]
    assert list(find_records(io.BytesIO())) == [0]
