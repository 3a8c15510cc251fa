"""The widest dataset that a contract may have, on a real Postgres."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from catalog.contract.product import MOST_PROPERTIES
from tests.support.lab import Lab

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: wide
name: Wide
version: 1.0.0
status: active
servers: [{server: here, type: local, path: "${DECANT_DATA}", format: csv}]
schema:
  - name: wide
    customProperties: [{property: input, value: {server: here, path: wide.csv, mode: upsert}}]
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
"""
OPEN = 'roles: [{role: "wide:read", access: read, customProperties: [{property: anonymous, value: true}]}]\n'
NAMES = [f"p{number}" for number in range(MOST_PROPERTIES - 1)]


@pytest.mark.slow
def test_the_widest_dataset_is_migrated_loaded_changed_and_read(make_lab: Callable[..., Lab]) -> None:
    properties = "".join(f"      - {{name: {name}, logicalType: integer}}\n" for name in NAMES)
    lab = make_lab(f"{CONTRACT}{properties}{OPEN}")
    header = ",".join(["id", *NAMES])
    for last in ("1", "2"):
        record = ",".join(["7", *("" for _ in NAMES[1:]), last])
        assert lab.ingest("wide.wide", f"{header}\n{record}\n", "wide.csv").status == "published"
    with lab.serve() as client:
        (found,) = client.get("/data/wide/v1/wide/records").raise_for_status().json()["data"]
    assert len(found) == MOST_PROPERTIES
    assert found[NAMES[-1]] == 2
    assert found[NAMES[0]] is None
