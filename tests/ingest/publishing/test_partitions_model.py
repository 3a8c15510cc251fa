"""A dataset in 8 partitions, held against the same one in one piece: whatever happens, they are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catalog.model.load_request import Erase, Replay
from ingest.loading.load_report import LoadReport
from ingest.loading.prune_datasets import prune_datasets
from ingest.retention import prune
from tests.support.examples import examples
from tests.support.lab import Lab
from tests.support.replays import mend

DATASETS = {"plain": "null", "spread": "8"}
QUERIES = ("", "&sort=-name,age", "&sort=name", "&name=ann&age[gte]=15", "&q=bo", "&id=3", "&id=3&part=x")
WHOLE = ("aggregate?group_by=name&measure=count,sum:age,distinct:id", "export?format=csv", "export?format=ndjson")
HEAD = """
apiVersion: v3.1.0
kind: DataContract
id: people
version: 1.0.0
status: active
servers:
  - {server: here, type: local, path: "${DECANT_DATA}", format: csv}
slaProperties: [{property: retention, value: 30, unit: d}]
roles:
  - {role: "people:read", access: read, customProperties: [{property: anonymous, value: true}]}
schema:
"""
DATASET = """
  - name: NAME
    customProperties:
      - {property: input, value: {server: here, path: NAME.csv, mode: MODE, nullValues: [""]}}
      - {property: maxDeleted, value: 100}
      - {property: maxRejected, value: 100}
      - {property: partitions, value: NUMBER}
    properties:
      - {name: id, logicalType: integer, primaryKey: true, primaryKeyPosition: 1}
      - {name: part, logicalType: string, primaryKey: true, primaryKeyPosition: 2}
      - name: name
        logicalType: string
        required: true
        customProperties: [{property: indexed, value: true}, {property: searchable, value: true}]
      - {name: age, logicalType: integer, logicalTypeOptions: {maximum: 50}}
      - {name: code, logicalType: integer, unique: true}
"""
# Ages over 50 are rejected until the contract is mended, and so is a code that another record has.
BATCH = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.sampled_from("xy"),
        st.sampled_from(["ann", "bo", ""]),
        st.sampled_from(["", 10, 20, 70]),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=14,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("load"), BATCH),
        st.tuples(st.just("erase"), st.tuples(st.integers(1, 9), st.sampled_from("xy"))),
        st.tuples(st.just("prune"), st.integers(1, 4)),
        st.tuples(st.just("replay"), st.just(None)),
    ),
    min_size=1,
    max_size=8,
)

# Every record is replaced twice, and one of its two earlier forms goes: of rows at one place in several partitions
# some go and some stay.
PRUNED: list[tuple[str, Any]] = [
    *(("load", [(n, "x", name, 10, n) for n in range(1, 10)]) for name in ("ann", "bo", "cy")),
    ("prune", 1),
]


def make_contract(mode: str) -> str:
    parts = (DATASET.replace("NAME", name).replace("MODE", mode) for name in DATASETS)
    return HEAD + "".join(
        part.replace("NUMBER", "8" if name == "spread" else "null")
        for name, part in zip(DATASETS, parts, strict=True)
    )


def run_step(lab: Lab, name: str, kind: str, value: Any) -> Any:
    """What a step did to one of the datasets, in words that hold for both."""
    dataset = lab.dataset(f"people.{name}")
    match kind:
        case "load":
            text = "id,part,name,age,code\n" + "".join(f"{','.join(map(str, row))}\n" for row in value)
            return describe(lab.ingest(dataset.address, text, f"{name}.csv"))
        case "erase":
            return describe(lab.loader().run(dataset, request=Erase((str(value[0]), value[1]))))
        case "replay":
            return describe(lab.loader().run(dataset, request=Replay(None)))
    # As if the newest revision that goes had been there for long.
    lab.rows(
        "UPDATE decant.revisions AS r SET published_at = now() - interval '40 days' FROM decant.datasets AS d"
        " WHERE d.id = r.dataset_id AND d.dataset = %s AND r.revision <= d.revision - %s RETURNING 1",
        name,
        value,
    )
    (gone,) = prune_datasets(lab.loader(), [dataset], datetime.now(UTC))
    return gone.oldest_revision, gone.history, gone.rejected, gone.error


def describe(report: LoadReport) -> Any:
    outcome = report.outcome and replace(report.outcome, measurements=())
    return report.status, outcome, report.error and report.error.replace("plain", "spread")


def observe(lab: Lab, client: httpx.Client, name: str) -> list[Any]:
    """All that readers see of a dataset, at every revision, and all rows of its tables."""
    base = f"/data/people/v1/{name}"
    ((revision, count, oldest),) = lab.rows(
        "SELECT revision, record_count, oldest_revision FROM decant.datasets WHERE dataset = %s", name
    )
    columns = "id, part, name, age, code, _revision, _line"
    seen: list[Any] = [
        (revision, count, oldest),
        lab.rows(f"SELECT {columns} FROM people_v1.{name} ORDER BY id, part"),
        lab.rows(f"SELECT {columns}, _until FROM people_v1.{name}_history ORDER BY id, part, _revision"),
        lab.rows(
            "SELECT line, key, state, reasons::text FROM decant.rejected_records AS r JOIN decant.datasets AS d"
            " ON d.id = r.dataset_id WHERE d.dataset = %s ORDER BY r.load_id, line",
            name,
        ),
        [
            {key: value for key, value in one.items() if isinstance(value, int) and key != "load"}
            for one in client.get(f"{base}/revisions").json()["data"]
        ],
    ]
    for at in range(1, revision + 1):
        seen += [read_all(client, f"{base}/records?at={at}&limit=3{query}") for query in QUERIES]
        seen.append(read_all(client, f"{base}/changes?since={at}&limit=3"))
        for query in WHOLE:
            answer = client.get(f"{base}/{query}&at={at}")
            seen.append((answer.status_code, answer.status_code == 200 and answer.text))
    return seen


def read_all(client: httpx.Client, url: str) -> Any:
    """Every page of a walk: the records in their order; or the status that ends it."""
    pages: list[Any] = []
    following: str | None = url
    while following is not None:
        assert len(pages) < 100
        answer = client.get(following)
        if answer.status_code != 200:
            return [*pages, answer.status_code]
        page = answer.json()
        pages.append({key: value for key, value in page.items() if key not in {"next", "links"}})
        following = page["next"]
    return pages


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["snapshot", "upsert"])
@settings(max_examples=examples(12, 3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(steps=PRUNED)
def test_partitions_change_nothing_that_anybody_sees(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, mode: str, steps: list[tuple[str, Any]]
) -> None:
    # History goes in many small steps: each finds its rows by their places.
    monkeypatch.setattr(prune, "ROWS_AT_ONCE", 2)
    lab = make_lab(make_contract(mode))
    for kind, value in steps:
        plain, spread = (run_step(lab, name, kind, value) for name in DATASETS)
        assert plain == spread
    lab = mend(lab, "maximum: 50", "maximum: 150")
    plain, spread = (run_step(lab, name, "replay", None) for name in DATASETS)
    assert plain == spread
    with lab.serve() as client:
        plain, spread = (observe(lab, client, name) for name in DATASETS)
    assert plain == spread
    assert lab.rows("SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'") == [(16,)]
