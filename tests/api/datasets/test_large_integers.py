"""Integers beyond 2^53: where they are taken, and that no answer loses a digit of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import python_calamine

from api.openapi import build_document
from catalog.migration.migrate import migrate
from tests.support.lab import Lab

SAFE = 2**53 - 1
LARGEST = 2**63 - 1
COUNTS = """
apiVersion: v3.1.0
kind: DataContract
id: counts
name: Counts
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: json}
schema:
  - name: counts
    customProperties:
      - {property: input, value: {server: here, path: counts.json, mode: snapshot, nullValues: [""]}}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: plain, logicalType: integer}
      - {name: big, logicalType: integer, physicalType: bigint}
      - {name: safe, logicalType: integer, physicalType: bigint, logicalTypeOptions: {minimum: 0, maximum: 10}}
      - {name: middle, logicalType: integer, physicalType: integer}
      - name: inner
        logicalType: object
        properties:
          - {name: plain, logicalType: integer}
          - {name: big, logicalType: integer, physicalType: bigint}
roles:
  - {role: "counts:read", access: read, customProperties: [{property: anonymous, value: true}]}
"""
GOOD: list[dict[str, Any]] = [
    {"id": 1, "plain": SAFE, "big": LARGEST, "safe": 10, "middle": 7, "inner": {"plain": SAFE, "big": LARGEST}},
    {"id": 2, "plain": SAFE, "big": -(2**63), "safe": 0, "middle": -7, "inner": {"plain": -SAFE}},
    {"id": 3, "plain": -SAFE, "big": 2**53 + 1, "safe": None, "middle": None, "inner": None},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": 4, "plain": SAFE + 1}, "plain"),
    ({"id": 5, "plain": -SAFE - 1}, "plain"),
    ({"id": 6, "plain": LARGEST}, "plain"),
    ({"id": SAFE + 2}, "id"),
    ({"id": 7, "inner": {"plain": SAFE + 1}}, "inner.plain"),
]
URL = "/data/counts/v1/counts"


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(COUNTS)
    report = lab.ingest("counts.counts", json.dumps(GOOD + [record for record, _ in BAD]), "counts.json")
    assert report.status == "published"
    return lab


@pytest.fixture
def client(lab: Lab) -> Iterator[httpx.Client]:
    with lab.serve() as client:
        yield client


def test_a_plain_integer_beyond_the_bounds_is_rejected_with_the_way_out(lab: Lab) -> None:
    rejected = lab.rows("SELECT reasons FROM decant.rejected_records ORDER BY line")
    assert [reasons[0]["property"] for (reasons,) in rejected] == [place for _, place in BAD]
    for ((reason,),) in rejected:
        assert reason["rule"] == "type"
        assert "from -9007199254740991 to 9007199254740991" in reason["message"]
        assert "physicalType: bigint" in reason["message"]


@pytest.mark.slow
def test_every_answer_keeps_every_digit(client: httpx.Client) -> None:
    records = client.get(f"{URL}/records").json()["data"]
    assert [record["plain"] for record in records] == [SAFE, SAFE, -SAFE]
    assert [record["big"] for record in records] == [str(LARGEST), str(-(2**63)), str(2**53 + 1)]
    assert [record["safe"] for record in records] == [10, 0, None]
    # What is kept as JSON is answered as it came.
    assert records[0]["inner"] == {"plain": SAFE, "big": LARGEST}
    assert client.get(f"{URL}/records/1").json()["data"] == records[0]
    changes = client.get(f"{URL}/changes?since=0").json()["data"]
    assert [change["record"] for change in changes] == records
    lines = client.get(f"{URL}/records", headers={"Accept": "application/x-ndjson"}).text
    assert lines == client.get(f"{URL}/export?format=ndjson&at=1").text
    assert [json.loads(line) for line in lines.splitlines()] == records
    cells = client.get(f"{URL}/records?properties=big,plain", headers={"Accept": "text/csv"}).text
    assert cells == client.get(f"{URL}/export?format=csv&at=1&properties=big,plain").text
    assert cells.split() == ["plain,big", f"{SAFE},{LARGEST}", f"{SAFE},{-(2**63)}", f"{-SAFE},{2**53 + 1}"]
    arrow = pa.ipc.open_stream(client.get(f"{URL}/export?format=arrow&at=1").content).read_all()
    parquet = pq.read_table(io.BytesIO(client.get(f"{URL}/export?format=parquet&at=1").content))
    for table in (arrow, parquet):
        assert table.column("big").to_pylist() == [LARGEST, -(2**63), 2**53 + 1]
    book = client.get(f"{URL}/export?format=xlsx&at=1&properties=id,plain,big,safe").content
    rows = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(book)).get_sheet_by_index(0).to_python()
    # A sheet holds doubles, of which Excel shows fifteen digits: what has more is text.
    assert rows[1] == [1.0, str(SAFE), str(LARGEST), 10.0]


def test_filters_find_large_numbers_and_none_beside_them(client: httpx.Client) -> None:
    for query, expected in (
        (f"big={LARGEST}", [1]),
        (f"big={LARGEST - 1}", []),
        (f"big={2**53}", []),
        (f"big={2**53 + 1}", [3]),
        (f"big[in]={2**53},{2**53 + 1},{-(2**63)}", [2, 3]),
        (f"plain={SAFE}", [1, 2]),
        (f"plain={SAFE + 1}", []),
        (f"plain[gt]={SAFE - 1}", [1, 2]),
    ):
        assert [r["id"] for r in client.get(f"{URL}/records?{query}").json()["data"]] == expected, query
    refused = client.get(f"{URL}/records?big={LARGEST + 1}")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value")


def test_a_sum_is_a_number_as_long_as_it_is_safe(client: httpx.Client) -> None:
    measures = "sum:plain,sum:middle,sum:big,sum:safe,max:plain,min:big"
    (total,) = client.get(f"{URL}/aggregate?measure={measures}").json()["data"]
    assert total == {
        "sum_plain": SAFE,
        "sum_middle": 0,
        "sum_big": str(2**53),
        "sum_safe": 10,
        "max_plain": SAFE,
        "min_big": str(-(2**63)),
    }
    first = client.get(f"{URL}/aggregate?measure=sum:plain&id[lte]=2").json()["data"]
    assert first == [{"sum_plain": str(2 * SAFE)}]
    grouped = client.get(f"{URL}/aggregate?group_by=safe&measure=sum:plain&sort=-sum_plain").json()["data"]
    assert [row["sum_plain"] for row in grouped] == [SAFE, SAFE, -SAFE]


def test_the_document_says_how_many_bits_a_number_has(lab: Lab) -> None:
    schema = build_document(lab.catalog)["components"]["schemas"]["CountsV1Counts"]["properties"]
    assert (schema["id"]["type"], schema["id"]["format"]) == ("integer", "int64")
    assert (schema["plain"]["type"], schema["plain"]["format"]) == (["integer", "null"], "int64")
    assert (schema["safe"]["type"], schema["safe"]["format"]) == (["integer", "null"], "int64")
    assert (schema["middle"]["type"], schema["middle"]["format"]) == (["integer", "null"], "int32")
    assert schema["big"]["type"] == ["string", "null"]


@pytest.mark.slow
def test_an_upgrade_warns_of_numbers_that_are_stored_already(lab: Lab) -> None:
    def upgrade(version: str) -> list[str]:
        file = lab.settings.contracts / "contract0.odcs.yaml"
        file.write_text(file.read_text().replace("name: Counts\nversion: 1.0.0", f"name: Counts\nversion: {version}"))
        changed = Lab(lab.settings, lab.urls)
        return migrate(changed.settings, changed.urls.owner, changed.catalog).warnings

    with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        owner.execute(f"UPDATE counts_v1.counts SET plain = {SAFE + 1} WHERE id = 2".encode())
    assert migrate(lab.settings, lab.urls.owner, lab.catalog).warnings == []  # nothing changed: nothing is read
    (warning,) = upgrade("1.0.1")
    assert "counts@1.counts: plain" in warning
    assert "physicalType: bigint" in warning
    with lab.serve() as client:
        found = client.get(f"{URL}/records?plain={SAFE + 1}").json()["data"]
    assert [record["id"] for record in found] == [2]
