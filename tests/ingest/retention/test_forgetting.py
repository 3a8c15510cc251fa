"""Retention and erasure: what goes, what stays, and what readers are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.model.load_request import Erase, Replay
from catalog.storage.dataset_tables import build_tables
from ingest.loading.prune_datasets import prune_datasets
from ingest.retention.prune import Pruned, delete_history
from runtime.postgres.database import make_engine
from tests.support.batches import BATCHES, Record, as_csv, read
from tests.support.databases import Databases
from tests.support.examples import examples
from tests.support.lab import PEOPLE, Lab

HEAD = "id,name,age,born\n"
PAST = "SELECT revision::int FROM decant.profile_history ORDER BY 1"
KEPT = PEOPLE.replace("roles:", "slaProperties:\n  - {property: retention, value: 30, unit: d}\nroles:")


def forget(lab: Lab, now: datetime | None = None) -> list[Pruned]:
    pruned = prune_datasets(lab.loader(), lab.catalog.find(None), now)
    assert [one.error for one in pruned if one.error] == []
    return pruned


def age(lab: Lab, revision: int, days: int) -> None:
    """Makes a publication, and the load behind it, older."""
    lab.rows(
        "UPDATE decant.revisions SET published_at = now() - make_interval(days => %s)"
        " WHERE revision = %s RETURNING 1",
        days,
        revision,
    )
    lab.rows(
        "UPDATE decant.loads SET finished_at = now() - make_interval(days => %s) WHERE revision = %s RETURNING 1",
        days,
        revision,
    )


def keep_past(lab: Lab, revision: int) -> None:
    """Keeps figures of a revision, as its profile would."""
    lab.rows("INSERT INTO decant.profile_history VALUES (1, %s, 1, '[]') RETURNING 1", revision)


def landed(lab: Lab) -> list[bytes]:
    return [file.read_bytes() for file in lab.landing.rglob("*") if file.is_file()]


def erase(lab: Lab, *key: str) -> Any:
    return lab.loader().run(lab.dataset("people.people"), request=Erase(key))


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Lab:
    """Datasets whose keys have values that can be written in several ways."""
    lab = Lab.build(tmp_path_factory.mktemp("spelled"), databases.urls(databases.create()), SPELLED)
    lab.migrate()
    return lab


@pytest.mark.slow
def test_what_was_current_at_the_horizon_stays_readable_and_what_was_before_is_gone(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(KEPT)
    for number in range(1, 5):
        lab.ingest("people.people", HEAD + f"1,Ann,{number},\n{number + 1},Bo,1,\n")
    for revision, days in ((1, 90), (2, 60), (3, 20)):
        age(lab, revision, days)
        keep_past(lab, revision)
    for file in lab.landing.rglob("*"):
        if file.is_file():
            import os

            os.utime(file, (0, 0))
    (pruned,) = forget(lab)
    assert pruned.oldest_revision == 2
    assert pruned.batches == 1
    assert pruned.files == 1
    assert len(landed(lab)) == 3
    with lab.serve() as client:
        assert client.get("/data/people/v1/people/records?at=1").status_code == 410
        for revision in (2, 3, 4):
            records = client.get(f"/data/people/v1/people/records?at={revision}").json()["data"]
            assert [record["id"] for record in records] == [1, revision + 1]
    assert lab.rows("SELECT count(*) FROM people_v1.people_history WHERE _until <= 2") == [(0,)]
    assert lab.rows(PAST) == [(2,), (3,)]
    (again,) = forget(lab)
    assert (again.history, again.batches) == (0, 0)


@pytest.mark.slow
def test_a_cursor_into_a_revision_that_is_pruned_is_gone(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(KEPT)
    lab.ingest("people.people", HEAD + "1,Ann,1,\n2,Bo,1,\n")
    with lab.serve() as client:
        following = client.get("/data/people/v1/people/records?limit=1").json()["next"]
        lab.ingest("people.people", HEAD + "1,Ann,2,\n2,Bo,1,\n")
        assert client.get(following).status_code == 200
        forget(lab, datetime.now(UTC) + timedelta(days=31))
        # Every process knows of it within a second.
        for _ in range(1000):
            answer = client.get(following)
            if answer.status_code != 200:
                break
        assert (answer.status_code, answer.json()["code"]) == (410, "revision_gone")


def test_closed_and_old_rejected_records_go_and_young_ones_stay(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(KEPT)
    lab.ingest("people.people", HEAD + "1,Ann,1,\n2,,1,\n")
    forget(lab)
    assert lab.rows("SELECT count(*) FROM decant.rejected_records") == [(1,)]
    forget(lab, datetime.now(UTC) + timedelta(days=31))
    assert lab.rows("SELECT count(*) FROM decant.rejected_records") == [(0,)]
    assert len(landed(lab)) == 1  # the latest published batch


def test_old_records_of_an_append_dataset_go_by_a_publication(make_lab: Callable[..., Lab]) -> None:
    contract = KEPT.replace("mode: snapshot", "mode: append").replace(
        "value: 30, unit: d}", "value: 30, unit: d, element: people.born}"
    )
    lab = make_lab(contract)
    lab.ingest("people.people", HEAD + "1,Ann,1,2001-01-01\n2,Bo,1,2999-01-01\n3,Cy,1,\n")
    keep_past(lab, 1)
    (pruned,) = forget(lab)
    assert lab.rows(PAST) == []
    assert (pruned.records, pruned.oldest_revision) == (1, 2)
    assert lab.rows("SELECT id FROM people_v1.people ORDER BY 1") == [(2,), (3,)]
    assert lab.rows("SELECT count(*) FROM people_v1.people_history") == [(0,)]
    assert lab.rows("SELECT kind, status, deleted FROM decant.loads ORDER BY id DESC LIMIT 1") == [
        ("prune", "published", 1)
    ]
    assert forget(lab)[0].records == 0
    with lab.serve() as client:
        assert client.get("/data/people/v1/people/records?at=1").status_code == 410
        assert client.get("/data/people/v1/people/records").json()["revision"] == 2


@pytest.mark.slow
@settings(max_examples=examples(10, 4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, prunings=st.lists(st.integers(0, 6), max_size=4))
def test_pruning_never_takes_what_a_kept_revision_has(
    make_lab: Callable[..., Lab], batches: Any, prunings: list[int]
) -> None:
    lab = make_lab(KEPT)
    revisions: list[Record] = []
    for number, batch in enumerate(batches):
        if lab.ingest("people.people", as_csv(batch)).status == "published":
            revisions.append(dict(batch))
        if number in prunings:
            for revision in range(1, len(revisions)):
                age(lab, revision, 40)
            forget(lab)
    ((oldest,),) = lab.rows("SELECT oldest_revision FROM decant.datasets")
    with lab.serve() as client:
        for number, expected in enumerate(revisions, 1):
            if number >= oldest:
                assert read(client, number) == expected
            else:
                assert client.get(f"/data/people/v1/people/records?at={number}").status_code == 410


@pytest.mark.sampled
@pytest.mark.parametrize("packed", [False, True])
def test_an_erased_key_is_nowhere_any_more_and_everything_else_is(make_lab: Callable[..., Lab], packed: bool) -> None:
    import gzip

    lab = make_lab(KEPT)

    def bring(text: str) -> Any:
        return lab.ingest("people.people", gzip.compress(text.encode()) if packed else text)

    first = bring(HEAD + '1,Ann,1,\n4711,"Zoe\nSecret",1,\n3,Cy,1,\n')
    bring(HEAD + "1,Ann,2,\n4711,Zoe Secret,2,\n3,Cy,1,\n5,,1,\n")
    bring(HEAD + "1,Ann,2,\n4711,Zoe Secret,999,\n3,Cy,1,\n5,,1,\n4711,Zoe,Secret,broken,\n")
    report = erase(lab, "4711")
    assert report.status == "published", report.error
    assert any("3 raw batches rewritten" in note for note in report.notes), report.notes
    everything = b"".join(gzip.decompress(b) if b[:2] == b"\x1f\x8b" else b for b in landed(lab))
    assert b"4711" not in everything
    assert b"Secret" not in everything
    for table in ("people_v1.people", "people_v1.people_history", "decant.rejected_records", "decant.loads"):
        assert "4711" not in str(
            lab.rows(
                f"SELECT to_jsonb(t) - 'published_at' FROM {table} t WHERE to_jsonb(t)::text ~ '[^0-9]4711[^0-9]'"
            )
        )
    assert lab.rows("SELECT id, age FROM people_v1.people ORDER BY 1") == [(1, 2), (3, 1)]
    assert lab.rows("SELECT line, state FROM decant.rejected_records") == [(5, "open")]
    # The same file again brings nothing back, and a whole batch can still be replayed.
    assert lab.ingest("people.people").status == "unchanged"
    again = lab.loader().run(lab.dataset("people.people"), request=Replay(first.load_id))
    assert again.status == "unchanged", again.error
    assert again.outcome.raw == 2
    with lab.serve() as client:
        assert client.get("/data/people/v1/people/records/4711").status_code == 404
        assert client.get("/data/people/v1/people/records?at=1").status_code == 410
    # Done again, it finds nothing.
    assert erase(lab, "4711").status == "unchanged"


SPELLED = PEOPLE[: PEOPLE.index("  - name: people\n")] + "".join(
    f"""  - name: {name}
    customProperties:
      - {{property: input, value: {{server: here, path: {name}.csv, mode: snapshot}}}}
      - {{property: maxDeleted, value: 100}}
      - {{property: maxRejected, value: 100}}
    properties:
      - {{name: id, {kind}, primaryKey: true}}
      - {{name: size, logicalType: integer}}
"""
    for name, kind in (
        ("numbers", "logicalType: integer"),
        ("prices", 'logicalType: number, physicalType: "numeric(12,2)"'),
        ("moments", "logicalType: timestamp"),
        ("marks", "logicalType: string, physicalType: uuid"),
    )
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key", "written"),
    [
        ("numbers", "+0042", "42"),
        ("prices", "1.5", "1.50"),
        ("moments", "2013-01-31T18:30:00+01:00", "2013-01-31T17:30:00Z"),
        ("marks", "6F1E2D3C-0000-4000-8000-00000000ABCD", "6f1e2d3c-0000-4000-8000-00000000abcd"),
    ],
)
def test_a_key_is_erased_however_its_value_is_written(spelled: Lab, name: str, key: str, written: str) -> None:
    for size in ("1", "2", "wrong"):
        spelled.ingest(f"people.{name}", f"id,size\n{written},{size}\n", f"{name}.csv")
    mine = "SELECT count(*) FROM decant.rejected_records AS r JOIN decant.datasets AS d ON d.id = r.dataset_id"
    mine += " WHERE d.dataset = %s"
    assert spelled.rows(mine, name) == [(1,)]
    report = spelled.loader().run(spelled.dataset(f"people.{name}"), request=Erase((key,)))
    assert report.notes[0] == "erased: 1 current, 1 in history, 1 in quarantine, 3 raw batches rewritten"
    assert not [content for content in landed(spelled) if written.encode() in content]
    assert spelled.rows(mine, name) == [(0,)]


def test_a_key_of_another_form_cannot_be_erased(lab: Lab) -> None:
    lab.ingest("people.people", HEAD + "1,Ann,1,\n")
    report = erase(lab, "x")
    assert report.status == "failed"
    assert "id:" in (report.error or "")
    assert erase(lab, "1", "2").error_code == "ingest_error"


@pytest.mark.slow
def test_history_in_partitions_loses_what_no_kept_revision_has_and_nothing_else(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.retention.prune.ROWS_AT_ONCE", 7)
    for revision in range(1, 7):
        lab.ingest("people.people", HEAD + "".join(f"{n},P{n}x{revision},1,\n" for n in range(30)))
    with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        owner.execute("ALTER TABLE people_v1.people_history RENAME TO whole")
        owner.execute("CREATE TABLE people_v1.people_history (LIKE people_v1.whole) PARTITION BY HASH (id)")
        for part in range(4):
            owner.execute(
                f"CREATE TABLE people_v1.part_{part} PARTITION OF people_v1.people_history"
                f" FOR VALUES WITH (MODULUS 4, REMAINDER {part})".encode()
            )
        # Inserted in another order for each part, so that one place in each holds rows of different revisions.
        owner.execute(
            "INSERT INTO people_v1.people_history SELECT * FROM people_v1.whole ORDER BY hashint8(id + _until)"
        )
    kept = "SELECT id, name, _until FROM people_v1.{} WHERE _until > 4 ORDER BY 1, 3"
    tables = build_tables(lab.catalog.products.values()).of(lab.dataset("people.people"))
    engine = make_engine(lab.urls.owner)
    assert delete_history(engine, tables, 4) == 90
    assert lab.rows(kept.format("people_history")) == lab.rows(kept.format("whole"))
    assert lab.rows("SELECT count(*) FROM people_v1.people_history WHERE _until <= 4") == [(0,)]
