"""Whole loads on a real Postgres: what is published, what is rejected, and what is left alone."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable

import psycopg
import pytest
import sqlalchemy as sa

from catalog.storage.ledger_tables import DatasetHead
from ingest.errors import DatasetBusyError
from ingest.ledger.lease import lock_dataset
from runtime.postgres.database import make_engine
from tests.support.killed import run_killed
from tests.support.lab import PEOPLE, Lab
from tests.support.load_steps import caller_of

GOOD = "id,name,age,born\n1,Ann,30,1990-01-31\n2,Ben,NA,\n3,Cy,41,1980-02-29\n"


def current(lab: Lab) -> list[tuple[object, ...]]:
    return lab.rows("SELECT id, name, age, born::text, _revision FROM people_v1.people ORDER BY id")


def reasons(lab: Lab) -> list[tuple[int, set[tuple[str | None, str]], str]]:
    rows = lab.rows("SELECT line, reasons, raw FROM decant.rejected_records ORDER BY load_id, line")
    return [(line, {(r["property"], r["rule"]) for r in found}, raw) for line, found, raw in rows]


def test_good_records_are_published_whole(lab: Lab) -> None:
    report = lab.ingest("people.people", GOOD)
    assert report.status == "published"
    assert current(lab) == [
        (1, "Ann", 30, "1990-01-31", 1),
        (2, "Ben", None, None, 1),
        (3, "Cy", 41, "1980-02-29", 1),
    ]
    assert lab.rows("SELECT revision, record_count FROM decant.datasets") == [(1, 3)]


def test_the_same_bytes_again_end_unchanged(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    report = lab.ingest("people.people")
    assert report.status == "unchanged"
    assert set(report.step_seconds) == {"land"}
    assert lab.rows("SELECT revision FROM decant.datasets") == [(1,)]


@pytest.mark.slow
def test_going_back_to_an_earlier_file_is_a_publication_of_its_own(lab: Lab) -> None:
    other = GOOD.replace("Ann", "Anna")
    assert [lab.ingest("people.people", text).status for text in (GOOD, other, GOOD)] == ["published"] * 3
    assert current(lab)[0][1:] == ("Ann", 30, "1990-01-31", 3)
    assert lab.rows("SELECT id, name, _revision, _until FROM people_v1.people_history ORDER BY _until") == [
        (1, "Ann", 1, 2),
        (1, "Anna", 2, 3),
    ]


def test_another_file_in_which_nothing_changed_ends_unchanged(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    lines = GOOD.splitlines()
    report = lab.ingest("people.people", "\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert report.status == "unchanged"
    assert report.outcome
    assert (report.outcome.accepted, report.outcome.unchanged) == (3, 3)


def test_a_snapshot_deletes_what_it_lacks_and_history_keeps_it(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    report = lab.ingest("people.people", "id,name,age,born\n1,Ann,31,1990-01-31\n4,Di,,\n")
    assert report.outcome
    assert (report.outcome.inserted, report.outcome.updated, report.outcome.deleted) == (1, 1, 2)
    assert [row[0] for row in current(lab)] == [1, 4]
    kept = lab.rows("SELECT id, _revision, _until FROM people_v1.people_history ORDER BY id")
    assert kept == [(1, 1, 2), (2, 1, 2), (3, 1, 2)]


def test_a_record_that_is_repeated_unchanged_keeps_its_revision(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    lab.ingest("people.people", GOOD.replace("Cy,41", "Cy,42"))
    assert [row[-1] for row in current(lab)] == [1, 1, 2]


def test_every_bad_record_is_rejected_with_every_reason_and_its_place(lab: Lab) -> None:
    report = lab.ingest(
        "people.people",
        "id,name,age,born\n"
        "1,Ann,30,1990-01-31\n"
        "x,,200,1990-02-30\n"  # line 3: all four properties are wrong
        "4,Di,30\n"  # line 4: too few columns
        '5,"Ed,30,\n'  # line 5: an unclosed quote
        "6,Flo,-1,\n"
        "7,Gil,2.5,\n",
    )
    assert report.outcome
    assert (report.outcome.raw, report.outcome.accepted, report.outcome.rejected) == (6, 1, 5)
    assert reasons(lab) == [
        (
            3,
            {("id", "type"), ("name", "required"), ("age", "maximum"), ("born", "type")},
            "x,,200,1990-02-30",
        ),
        (4, {(None, "malformed")}, "4,Di,30"),
        (5, {(None, "malformed")}, '5,"Ed,30,'),
        (6, {("age", "minimum")}, "6,Flo,-1,"),
        (7, {("age", "type")}, "7,Gil,2.5,"),
    ]


def test_a_reason_says_what_was_there_and_what_was_expected(lab: Lab) -> None:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,\n2,Ben,old,\n")
    ((found,),) = lab.rows("SELECT reasons FROM decant.rejected_records")
    assert found[0]["value"] == "old"
    assert "integer" in found[0]["message"]


def test_the_newest_of_records_with_one_key_is_kept_and_the_others_are_counted(lab: Lab) -> None:
    report = lab.ingest("people.people", "id,name,age,born\n1,Ann,1,\n2,Ben,2,\n1,Anna,3,\n1,Annie,4,\n")
    assert report.outcome
    assert (report.outcome.raw, report.outcome.accepted, report.outcome.duplicates) == (4, 2, 2)
    assert [row[:3] for row in current(lab)] == [(1, "Annie", 4), (2, "Ben", 2)]


def test_accepted_rejected_and_duplicates_add_up_to_the_raw_records(lab: Lab) -> None:
    lab.ingest("people.people", GOOD + "3,Cyd,1,\n9,,1,\n10,a,b,c,d\n")
    for raw, accepted, rejected, duplicates in lab.rows(
        "SELECT raw, accepted, rejected, duplicates FROM decant.loads"
    ):
        assert raw == accepted + rejected + duplicates == 6


def test_the_same_bad_record_tomorrow_is_only_seen_again(lab: Lab) -> None:
    lab.ingest("people.people", GOOD + "9,,1,\n")
    before = lab.rows("SELECT id, first_seen, last_seen FROM decant.rejected_records")
    lab.ingest("people.people", GOOD + "5,Eve,,\n9,,1,\n")
    after = lab.rows("SELECT id, first_seen, last_seen FROM decant.rejected_records")
    assert len(after) == 1
    assert after[0][:2] == before[0][:2]
    assert after[0][2] > before[0][2]


def test_a_rejected_record_whose_key_comes_in_good_order_later_is_superseded(lab: Lab) -> None:
    lab.ingest("people.people", GOOD + "9,,1,\n")
    lab.ingest("people.people", GOOD + "9,Ida,1,\n")
    assert lab.rows("SELECT state FROM decant.rejected_records") == [("superseded",)]


def test_in_a_snapshot_a_key_among_the_rejected_records_stays(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    report = lab.ingest("people.people", GOOD.replace("Ben,NA", "Ben,minus"))
    assert report.status == "unchanged"
    assert [row[0] for row in current(lab)] == [1, 2, 3]


def test_a_missing_column_fails_the_load_before_anything_is_written(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    report = lab.ingest("people.people", "id,nom,age,born\n1,Ann,30,\n")
    assert (report.status, report.error_code) == ("failed", "missing_columns")
    assert "name" in (report.error or "")
    assert "id, nom, age, born" in (report.error or "")
    assert len(current(lab)) == 3


def test_an_unknown_extra_column_is_noted_once(lab: Lab) -> None:
    report = lab.ingest("people.people", "id,name,age,born,shoe\n1,Ann,30,,7\n2,Ben,30,,8\n")
    assert report.status == "published"
    assert [note for note in report.notes if "shoe" in note] == list(report.notes)


def test_an_unknown_extra_column_is_an_error_where_the_contract_says_so(make_lab: Callable[..., Lab]) -> None:
    strict = PEOPLE.replace(
        "{property: maxDeleted", "{property: unknownColumns, value: reject}\n      - {property: maxDeleted"
    )
    report = make_lab(strict).ingest("people.people", "id,name,age,born,shoe\n1,Ann,30,,7\n")
    assert report.status == "failed"
    assert "shoe" in (report.error or "")


@pytest.mark.sampled
@pytest.mark.parametrize("content", ["", "id,name,age,born\n"])
def test_an_empty_file_is_withheld(lab: Lab, content: str) -> None:
    lab.ingest("people.people", GOOD)
    assert lab.ingest("people.people", content).status == "withheld"
    assert len(current(lab)) == 3


def test_a_snapshot_that_would_delete_too_much_is_withheld_with_its_measurement(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("{property: maxDeleted, value: 100}", "{property: maxDeleted, value: 50}"))
    lab.ingest("people.people", GOOD)
    report = lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n")
    assert report.status == "withheld"
    assert len(current(lab)) == 3
    assert lab.rows("SELECT measured, passed FROM decant.quality_results WHERE rule = 'maxDeleted'")[-1][1] is False


def test_too_many_rejected_records_withhold_the_load_and_are_kept(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("{property: maxRejected, value: 100}", "{property: maxRejected, value: 10}"))
    report = lab.ingest("people.people", GOOD + "9,,1,\n")
    assert report.status == "withheld"
    assert current(lab) == []
    assert reasons(lab) == [(5, {("name", "required")}, "9,,1,")]
    assert lab.rows("SELECT revision FROM decant.datasets") == [(0,)]


def with_quality(rule: str) -> str:
    return PEOPLE.replace("    properties:\n", f"    quality:\n      - {rule}\n    properties:\n", 1)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("{metric: rowCount, mustBeGreaterThan: 2}", "published"),
        ("{metric: rowCount, mustBeGreaterThan: 3}", "withheld"),
        ("{metric: rowCount, mustBeBetween: [3, 4]}", "published"),
        ("{type: sql, query: 'select count(*) from {object} where age > 40', mustBe: 1}", "published"),
        ("{type: sql, query: 'select count(*) from {object} where age > 40', mustBe: 0}", "withheld"),
        ("{type: sql, query: 'select count(*) from {object}', mustBe: 0, severity: warning}", "published"),
        ("{type: sql, query: 'select nothing from {object}', mustBe: 0}", "withheld"),
        ("{metric: nullValues, arguments: {properties: [age]}, unit: percent, mustBeLessThan: 30}", "withheld"),
        ("{metric: nullValues, arguments: {properties: [age]}, unit: percent, mustBeLessThan: 40}", "published"),
        ("{metric: duplicateValues, arguments: {properties: [name]}, mustBe: 0}", "published"),
    ],
)
def test_a_gate_publishes_or_withholds(make_lab: Callable[..., Lab], rule: str, status: str) -> None:
    assert make_lab(with_quality(rule)).ingest("people.people", GOOD).status == status


@pytest.mark.parametrize("pack", ["plain", "gzip", "zip"])
def test_files_come_plain_or_packed(lab: Lab, pack: str) -> None:
    content = GOOD.encode()
    if pack == "gzip":
        content = gzip.compress(content)
    path = lab.write("people.csv", content)
    if pack == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("people.csv", GOOD)
    assert lab.ingest("people.people").status == "published"
    assert len(current(lab)) == 3


def test_a_missing_file_fails_with_its_name(lab: Lab) -> None:
    report = lab.ingest("people.people")
    assert (report.status, report.error_code) == ("failed", "source_missing")
    assert "people.csv" in (report.error or "")


def test_the_ledger_keeps_no_staging_table(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    lab.ingest("people.people", GOOD + "9,Ida,1,\n")
    lab.ingest("people.people", "id\n1\n")
    assert lab.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'decant_staging'") == []
    assert list(lab.settings.work_folder.iterdir()) == []


def test_a_load_drops_what_loads_of_its_dataset_left_and_nothing_of_others(lab: Lab) -> None:
    load_id = lab.ingest("people.people", GOOD).load_id
    with psycopg.connect(lab.urls.ingest) as connection:
        for name in (f"load_{load_id}_1", f"load_{load_id + 900}_1", "load_of_others"):
            connection.execute(f"CREATE TABLE decant_staging.{name} (a int)".encode())
    lab.ingest("people.people", GOOD + "9,Ida,1,\n")
    left = lab.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'decant_staging' ORDER BY tablename")
    assert left == [(f"load_{load_id + 900}_1",), ("load_of_others",)]


@pytest.mark.parametrize("step", ["land", "parse_landed", "clean_batch", "stage", "publish_or_withhold"])
def test_a_load_that_was_killed_is_finished_by_the_next(lab: Lab, step: str) -> None:
    lab.ingest("people.people", GOOD)
    lab.write("people.csv", GOOD.replace("Cy,41", "Cy,42") + "9,,1,\n9,Ida,1,\n")
    run_killed(lab, "people.people", caller_of(step), step)
    published = step == "publish_or_withhold"
    assert len(lab.rows("SELECT 1 FROM decant.revisions")) == (2 if published else 1)
    report = lab.ingest("people.people")
    assert report.status == ("unchanged" if published else "published")
    assert [row[:3] for row in current(lab)] == [(1, "Ann", 30), (2, "Ben", None), (3, "Cy", 42), (9, "Ida", 1)]
    assert len(lab.rows("SELECT 1 FROM decant.rejected_records")) == 1
    assert lab.rows("SELECT 1 FROM decant.loads WHERE status = 'running'") == []
    assert lab.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'decant_staging'") == []
    assert list(lab.settings.work_folder.iterdir()) == []


def test_a_worker_that_lost_its_token_publishes_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    module = caller_of("clean_batch")
    original = module.clean_batch

    def overtaken(*args: object, **kwargs: object) -> object:
        lab.rows("UPDATE decant.datasets SET fencing_token = fencing_token + 1 RETURNING 1")
        return original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "clean_batch", overtaken)
    report = lab.ingest("people.people", GOOD)
    assert (report.status, report.error_code) == ("failed", "load_superseded")
    assert current(lab) == []


def test_two_workers_on_one_dataset_do_not_load_at_once(lab: Lab) -> None:
    engine = make_engine(lab.urls.ingest)
    dataset = lab.dataset("people.people")
    with lock_dataset(engine, dataset) as dataset_id:
        lab.rows(
            "INSERT INTO decant.loads (dataset_id, kind, status, lease_until)"
            " VALUES (%s, 'ingest', 'running', now() + interval '1 minute') RETURNING 1",
            dataset_id,
        )
        with pytest.raises(DatasetBusyError):
            lab.ingest("people.people", GOOD)
    assert lab.ingest("people.people", GOOD).status == "published"


def test_the_ingest_login_reads_no_keys_and_the_read_login_writes_nothing(lab: Lab) -> None:
    with make_engine(lab.urls.ingest).connect() as connection, pytest.raises(sa.exc.ProgrammingError):
        connection.execute(sa.text("SELECT 1 FROM decant.api_keys"))
    for statement in (
        "UPDATE decant.datasets SET revision = 9",
        "DELETE FROM people_v1.people",
        "CREATE TABLE people_v1.mine (a int)",
        "CREATE TABLE decant_staging.mine (a int)",
    ):
        with make_engine(lab.urls.read).connect() as connection, pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text(statement))


def test_the_ledger_names_every_step_of_a_load(lab: Lab) -> None:
    lab.ingest("people.people", GOOD)
    ((steps,),) = lab.rows("SELECT step_seconds FROM decant.loads")
    assert set(steps) >= {"land", "cut", "clean", "publish"}
    with make_engine(lab.urls.ingest).connect() as connection:
        head = connection.execute(sa.select(DatasetHead.__table__)).one()
    assert head.contract_sha256 == lab.catalog.products["people", 1].sha256
    assert json.dumps(steps)


def test_a_transform_that_is_no_sql_fails_its_load_in_an_orderly_way(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(
        PEOPLE.replace("{name: born, logicalType: date}", "{name: born, logicalType: date, transformLogic: at + 1}")
    )
    report = lab.ingest("people.people", "id,name,age,at\n1,Ann,30,2001-01-01\n")
    assert (report.status, report.error_code) == ("failed", "cleaning_failed")
    assert "syntax error" in (report.error or "")
