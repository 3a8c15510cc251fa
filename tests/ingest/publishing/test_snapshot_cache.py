"""Records known from the last publication: a shortcut that changes nothing but the time a load takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.cleaning import published_snapshot
from ingest.publishing import snapshot_cache
from tests.support.examples import examples
from tests.support.lab import Lab

SHOP = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
servers: [{{server: here, type: local, path: "${{DECANT_DATA}}", format: csv}}]
schema:
  - name: kinds
    customProperties:
      - {{property: input, value: {{server: here, path: kinds.csv, mode: snapshot}}}}
      - {{property: maxDeleted, value: 100}}
    properties:
      - {{name: kind, logicalType: string, primaryKey: true}}
  - name: items
    customProperties:
      - {{property: input, value: {{server: here, path: items.csv, mode: {mode}}}}}
      - {{property: maxDeleted, value: 100}}
      - {{property: maxRejected, value: 100}}
    properties:
      - {{name: shelf, logicalType: string, primaryKey: true, primaryKeyPosition: 1}}
      - {{name: place, logicalType: integer, primaryKey: true, primaryKeyPosition: 2}}
      - {{name: kind, logicalType: string, relationships: [{{to: kinds.kind}}]}}
      - {{name: price, logicalType: number}}
      - {{name: facts, logicalType: object}}
"""
KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "x", ""]))
VALUES = st.tuples(
    st.sampled_from(["k1", "k2", "k3", ""]),
    st.sampled_from(["", "1.5", "0", "-0.0", "free"]),
    st.sampled_from(["", "{}", '"{""n"":1}"', '"{ ""n"": 1.0 }"']),
)
BATCH = st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=8)
KINDS = st.one_of(st.none(), st.lists(st.sampled_from(["k1", "k2", "k3"]), min_size=1, max_size=3, unique=True))


def run(lab: Lab, steps: Any) -> list[Any]:
    """How each load of a sequence ended."""
    found = []
    for kinds, batch in steps:
        if kinds is not None:
            lab.ingest("shop.kinds", "kind\n" + "".join(f"{kind}\n" for kind in kinds), "kinds.csv")
        rows = "".join(",".join([*key, *values]) + "\n" for key, values in batch)
        outcome = lab.ingest("shop.items", "shelf,place,kind,price,facts\n" + rows, "items.csv").outcome
        assert outcome
        found.append((outcome.status, outcome.raw, outcome.accepted, outcome.rejected, outcome.duplicates,
                      outcome.inserted, outcome.updated, outcome.deleted, outcome.unchanged))  # fmt: skip
    found += [
        lab.rows(f"SELECT i::text FROM shop_v1.{table} AS i ORDER BY 1") for table in ("items", "items_history")
    ]
    found.append(lab.rows("SELECT line, key, state, reasons::text FROM decant.rejected_records ORDER BY id"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["snapshot", "upsert"])
@settings(
    max_examples=examples(6, 3),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(KINDS, BATCH), min_size=2, max_size=5))
def test_loads_end_alike_with_and_without_what_is_known(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, mode: str, steps: Any
) -> None:
    steps = [(["k1", "k2"], steps[0][1]), *steps[1:]]
    found = []
    for kept_from in (0, 1_000_000):
        monkeypatch.setattr(published_snapshot, "SNAPSHOT_FROM_RECORDS", kept_from)
        found.append(run(make_lab(SHOP.format(mode=mode)), steps))
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_batch_that_is_known_leaves_nothing_to_stage(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_snapshot, "SNAPSHOT_FROM_RECORDS", 0)
    staged = []
    original = snapshot_cache.SnapshotCache.__init__

    def watch(self: Any, settings: Any, dataset: Any, clean: Any, folder: Any) -> None:
        staged.append(clean.accepted_file.read_bytes().count(b"\n"))
        original(self, settings, dataset, clean, folder)

    monkeypatch.setattr(snapshot_cache.SnapshotCache, "__init__", watch)
    rows = ["1,Ann,30,\n", "2,Ben,,\n", "3,Cy,42,\n"]
    header = "id,name,age,born\n"
    assert lab.ingest("people.people", header + "".join(rows)).status == "published"
    assert lab.ingest("people.people", header + "".join(reversed(rows))).status == "unchanged"
    changed = lab.ingest("people.people", header + rows[0] + "2,Ben,7,\n" + "4,Di,1,\n").outcome
    assert changed
    assert (changed.inserted, changed.updated, changed.deleted, changed.unchanged) == (1, 1, 1, 1)
    assert staged == [3, 0, 2]
    assert len(list(lab.settings.known_folder.iterdir())) == 1


def test_what_was_published_elsewhere_is_not_known_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_snapshot, "SNAPSHOT_FROM_RECORDS", 0)
    header = "id,name,age,born\n"
    lab.ingest("people.people", header + "1,Ann,30,\n2,Ben,,\n")
    (kept,) = lab.settings.known_folder.iterdir()
    content = kept.read_bytes()
    monkeypatch.setattr(published_snapshot, "SNAPSHOT_FROM_RECORDS", 1_000_000)
    lab.ingest("people.people", header + "1,Eve,30,\n2,Ben,,\n")
    kept.write_bytes(content)
    # The file still says that 1 is Ann, but it is of another revision.
    report = lab.ingest("people.people", header + "1,Ann,30,\n2,Ben,,\n")
    assert report.outcome
    assert (report.outcome.updated, report.outcome.unchanged) == (1, 1)


def test_a_damaged_file_is_passed_over(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_snapshot, "SNAPSHOT_FROM_RECORDS", 0)
    header = "id,name,age,born\n"
    lab.ingest("people.people", header + "1,Ann,30,\n2,Ben,,\n")
    (kept,) = lab.settings.known_folder.iterdir()
    kept.write_bytes(b"PAR1 but no more")
    report = lab.ingest("people.people", header + "1,Ann,31,\n2,Ben,,\n")
    assert report.outcome
    assert (report.status, report.outcome.updated, report.outcome.unchanged) == ("published", 1, 1)
