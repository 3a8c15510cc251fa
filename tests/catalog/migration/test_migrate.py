"""Contracts that change while their data is there, on a real Postgres."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from catalog.migration.migrate import MigrationReport, migrate, plan_migration
from catalog.model.catalog import Catalog
from runtime.errors import MigrationError
from tests.support.lab import PEOPLE, Lab, walk

EARLY = PEOPLE.replace("version: 1.0.0", "version: 0.1.0")
DRAFT = PEOPLE.replace("status: active", "status: draft")
RECORDS = "id,name,age,born\n1,Ann,30,2000-01-31\n2,Bob,41,\n"
BORN = "      - {name: born, logicalType: date}\n"
AGE = "      - {name: age, logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 150}}\n"
TOWN = "      - {name: town, logicalType: string}\n"


def change(lab: Lab, text: str, number: int = 0) -> Lab:
    """The lab with another text in one of its contracts; not yet migrated."""
    (lab.settings.contracts / f"contract{number}.odcs.yaml").write_text(text)
    return Lab(lab.settings, lab.urls)


def apply(lab: Lab, text: str, *, allow_loss: bool = False) -> MigrationReport:
    changed = change(lab, text)
    return migrate(changed.settings, changed.urls.owner, changed.catalog, allow_loss=allow_loss)


def plan(lab: Lab, text: str) -> list[str]:
    changed = change(lab, text)
    return plan_migration(changed.settings, changed.urls.owner, changed.catalog)


def published(make_lab: Callable[..., Lab], text: str) -> Lab:
    """A lab whose dataset holds two records."""
    lab = make_lab(text)
    assert lab.ingest("people.people", RECORDS).status == "published"
    return lab


def columns(lab: Lab, table: str = "people") -> dict[str, str]:
    return dict(
        lab.rows(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = (SELECT oid FROM pg_class WHERE relname = %s AND relkind = 'r')"
            " AND attnum > 0 AND NOT attisdropped AND attname !~ '^_'",
            table,
        )
    )


def scripts(lab: Lab) -> list[str]:
    return sorted(path.name for path in (lab.settings.home / "migrations").glob("*.py"))


# The gate


def test_a_change_that_the_version_does_not_carry_is_refused_and_nothing_is_touched(
    make_lab: Callable[..., Lab],
) -> None:
    lab = published(make_lab, PEOPLE)
    before = scripts(lab)
    with pytest.raises(MigrationError) as refused:
        apply(lab, PEOPLE.replace(BORN, BORN + TOWN))
    message = str(refused.value)
    assert "people 1.0.0 → 1.0.0: minor step" in message
    assert "minor  people.town: optional property added" in message
    assert "set version 1.1.0 or later" in message
    assert "town" not in columns(lab)
    assert scripts(lab) == before
    assert apply(lab, PEOPLE.replace(BORN, BORN + TOWN).replace("1.0.0", "1.1.0")).applied == ["people_v1_0002"]
    assert lab.rows("SELECT version FROM decant.contracts") == [("1.1.0",)]


def test_a_breaking_change_within_one_major_is_refused_even_where_data_loss_is_allowed(
    make_lab: Callable[..., Lab],
) -> None:
    lab = published(make_lab, PEOPLE)
    with pytest.raises(MigrationError, match=r"version 2\.0\.0 as a second contract file"):
        apply(lab, PEOPLE.replace(BORN, "").replace("1.0.0", "1.1.0"), allow_loss=True)
    assert "born" in columns(lab)


def test_a_version_that_goes_back_is_refused(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, PEOPLE.replace("1.0.0", "1.4.0"))
    with pytest.raises(MigrationError, match=r"went back from 1\.4\.0 to 1\.3\.9"):
        apply(lab, PEOPLE.replace("1.0.0", "1.3.9"))


@pytest.mark.slow
def test_words_ask_for_a_patch_and_comments_for_nothing(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, PEOPLE)
    assert apply(lab, "# A comment\n" + PEOPLE).steps == []
    assert lab.rows("SELECT source LIKE '# A comment%%' FROM decant.contracts") == [(True,)]
    with pytest.raises(MigrationError, match=r"set version 1\.0\.1 or later"):
        apply(lab, PEOPLE.replace("name: People", "name: Persons"))
    assert apply(lab, PEOPLE.replace("name: People", "name: Persons").replace("1.0.0", "1.0.1")).applied == []


@pytest.mark.slow
def test_until_something_is_published_a_contract_changes_freely(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE)
    report = apply(lab, PEOPLE.replace(AGE, TOWN))
    assert report.applied == ["people_v1_0002"]
    assert "any version is accepted" in report.steps[0].lines()[0]
    assert list(columns(lab)) == ["id", "name", "born", "town"]
    # What cannot be cast is no matter where there is no record.
    apply(
        lab,
        PEOPLE.replace(
            "age, logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 150}", "age, logicalType: date"
        ),
    )
    assert columns(lab)["age"] == "date"
    # Another key too: the first one is seldom the right one.
    apply(
        lab,
        PEOPLE.replace("id, logicalType: integer, primaryKey: true", "id, logicalType: integer").replace(
            "name: name, logicalType: string, required: true", "name: name, logicalType: string, primaryKey: true"
        ),
    )
    changed = Lab(lab.settings, lab.urls)
    assert changed.ingest("people.people", RECORDS + ",Cid,,\n").status == "published"
    assert lab.rows("SELECT id, name FROM people_v1.people ORDER BY name") == [(1, "Ann"), (2, "Bob"), (None, "Cid")]


@pytest.mark.slow
def test_a_draft_changes_freely_and_can_be_taken_back_to_a_draft_by_nobody_who_promised(
    make_lab: Callable[..., Lab],
) -> None:
    lab = published(make_lab, DRAFT)
    apply(lab, DRAFT.replace(BORN, BORN + TOWN))
    apply(lab, PEOPLE.replace(BORN, BORN + TOWN))
    with pytest.raises(MigrationError, match="status is draft instead of active"):
        apply(lab, DRAFT.replace(BORN, BORN + TOWN))


@pytest.mark.slow
def test_before_version_1_a_breaking_change_is_a_minor_step(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, EARLY)
    with pytest.raises(MigrationError, match=r"set version 0\.2\.0 or later"):
        apply(lab, EARLY.replace(BORN, "").replace("0.1.0", "0.1.9"), allow_loss=True)
    apply(lab, EARLY.replace(BORN, "").replace("0.1.0", "0.2.0"), allow_loss=True)
    assert "born" not in columns(lab)


def test_the_plan_shows_changes_the_step_and_what_would_be_lost_and_changes_nothing(
    make_lab: Callable[..., Lab],
) -> None:
    lab = published(make_lab, EARLY)
    lines = plan(lab, EARLY.replace(BORN, TOWN))
    assert lines[0] == "people 0.1.0 → 0.1.0: major step"
    assert "  major  people.born: property removed" in lines
    assert "  minor  people.town: optional property added" in lines
    assert any("error: the version stayed at 0.1.0" in line for line in lines)
    assert "people_v0: would lose data: column people.born dropped" in lines
    assert any("add column" in line for line in lines)
    assert "born" in columns(lab)


@pytest.mark.slow
def test_every_product_that_is_refused_is_named_at_once(make_lab: Callable[..., Lab]) -> None:
    other = PEOPLE.replace("id: people", "id: others")
    lab = make_lab(PEOPLE, other)
    for product in ("people", "others"):
        lab.ingest(f"{product}.people", RECORDS)
    change(lab, PEOPLE.replace(BORN, BORN + TOWN))
    changed = change(lab, other.replace(BORN, BORN + TOWN), 1)
    with pytest.raises(MigrationError, match=r"(?s)people 1\.0\.0.*others 1\.0\.0"):
        changed.migrate()


# Two majors


@pytest.mark.slow
def test_two_majors_stand_side_by_side_each_loaded_and_served(make_lab: Callable[..., Lab]) -> None:
    second = PEOPLE.replace("version: 1.0.0", "version: 2.0.0").replace(
        AGE, "      - {name: years, logicalType: integer, transformLogic: age}\n"
    )
    lab = make_lab(PEOPLE, second)
    lab.write("people.csv", RECORDS)
    assert [dataset.address for dataset in lab.catalog.find("people")] == ["people@2.people"]
    for address in ("people@1.people", "people@2.people"):
        assert lab.ingest(address).status == "published"
    with lab.serve() as client:
        first = walk(client, "/data/people/v1/people/records")
        assert [record["age"] for record in first] == [30, 41]
        assert [record["years"] for record in walk(client, "/data/people/v2/people/records")] == [30, 41]
    # Each goes on for itself.
    lab.ingest("people@2.people", RECORDS + "3,Cid,7,\n")
    assert lab.rows("SELECT major, revision FROM decant.datasets ORDER BY major") == [(1, 1), (2, 2)]
    # A newer major that is not served yet is not what the bare name means.
    draft = change(lab, second.replace("status: active", "status: draft"), 1)
    assert [dataset.address for dataset in draft.catalog.find("people")] == ["people@1.people"]


# What stays


def filenodes(lab: Lab) -> list[tuple[object, ...]]:
    return lab.rows(
        "SELECT oid::regclass::text, pg_relation_filenode(oid) FROM pg_class"
        " WHERE relnamespace = 'people_v1'::regnamespace AND relname !~ 'town' ORDER BY 1"
    )


@pytest.mark.slow
def test_a_new_optional_column_rewrites_no_table(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, PEOPLE)
    lab.rows("SELECT count(*) FROM people_v1.people")
    before = filenodes(lab)
    apply(lab, PEOPLE.replace(BORN, BORN + TOWN).replace("1.0.0", "1.1.0"))
    assert filenodes(lab) == before
    assert columns(lab)["town"] == columns(lab, "people_history")["town"] == "text"
    changed = Lab(lab.settings, lab.urls)
    assert changed.ingest("people.people", "id,name,age,born,town\n1,Ann,30,2000-01-31,Ulm\n2,Bob,41,,\n").status == (
        "published"
    )
    # Bob has no town: his record is what it was.
    assert lab.rows("SELECT town, _revision FROM people_v1.people ORDER BY id") == [("Ulm", 2), (None, 1)]


@pytest.mark.slow
def test_a_rename_that_keeps_the_column_keeps_the_data_and_needs_no_script(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, EARLY)
    renamed = EARLY.replace("{name: age,", "{name: years, physicalName: age, transformLogic: age,").replace(
        "0.1.0", "0.2.0"
    )
    report = apply(lab, renamed)
    assert [str(change) for change in report.steps[0].comparison.changes if change.property] == [
        "people.years: renamed from age; its values are kept",
        "people.years: has another transformLogic",
    ]
    assert report.applied == []
    changed = Lab(lab.settings, lab.urls)
    with changed.serve() as client:
        assert [record["years"] for record in walk(client, "/data/people/v0/people/records")] == [30, 41]


def test_a_dataset_renamed_with_its_table_keeps_records_and_revision(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, EARLY)
    renamed = EARLY.replace("  - name: people\n", "  - name: persons\n    physicalName: people\n")
    apply(lab, renamed.replace("0.1.0", "0.2.0"))
    assert lab.rows("SELECT dataset, revision, record_count FROM decant.datasets") == [("persons", 1, 2)]
    changed = Lab(lab.settings, lab.urls)
    assert changed.ingest("people.persons", RECORDS + "3,Cid,7,\n").outcome is not None
    assert lab.rows("SELECT dataset, revision, record_count FROM decant.datasets") == [("persons", 2, 3)]


@pytest.mark.slow
def test_a_wider_type_is_no_loss(make_lab: Callable[..., Lab]) -> None:
    small = PEOPLE.replace("{name: age, logicalType: integer,", "{name: age, logicalType: integer, physicalType: {},")
    lab = published(make_lab, small.replace("{}", "smallint"))
    apply(lab, small.replace("{}", "integer").replace("1.0.0", "1.1.0"))
    assert columns(lab)["age"] == columns(lab, "people_history")["age"] == "integer"
    assert lab.rows("SELECT age FROM people_v1.people ORDER BY id") == [(30,), (41,)]


# What would be lost


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("after", "loss"),
    [
        (EARLY.replace(BORN, ""), "column people.born dropped"),
        (EARLY.replace("{name: age,", "{name: age, physicalName: years,"), "column people.age dropped"),
        (EARLY.replace("  - name: people\n", "  - name: persons\n"), "table people dropped"),
        (EARLY.replace("born, logicalType: date", "born, logicalType: timestamp"), "column people.born becomes"),
    ],
)
def test_what_loses_data_is_refused_unless_told(make_lab: Callable[..., Lab], after: str, loss: str) -> None:
    lab = published(make_lab, EARLY)
    before = columns(lab)
    with pytest.raises(MigrationError, match=loss) as refused:
        apply(lab, after.replace("0.1.0", "0.2.0"))
    assert "people_history" not in str(refused.value)
    assert "--allow-data-loss" in str(refused.value)
    assert columns(lab) == before
    assert apply(lab, after.replace("0.1.0", "0.2.0"), allow_loss=True).applied == ["people_v0_0002"]


@pytest.mark.slow
def test_a_dropped_dataset_that_comes_back_is_empty_and_loads_the_same_batch_again(
    make_lab: Callable[..., Lab],
) -> None:
    second = EARLY.split("schema:\n")[1].split("roles:")[0].replace("  - name: people\n", "  - name: others\n")
    both = EARLY.replace("roles:", second + "roles:")
    lab = published(make_lab, both)
    assert lab.ingest("people.others").status == "published"
    apply(lab, EARLY.replace("0.1.0", "0.2.0"), allow_loss=True)
    heads = "SELECT revision, oldest_revision, record_count FROM decant.datasets WHERE dataset = 'others'"
    assert lab.rows(heads) == [(1, 1, 0)]
    apply(lab, both.replace("0.1.0", "0.3.0"))
    changed = Lab(lab.settings, lab.urls)
    assert changed.ingest("people.others").status == "published"
    assert lab.rows(heads) == [(2, 1, 2)]
    assert lab.rows("SELECT count(*) FROM people_v0.others") == [(2,)]


@pytest.mark.slow
def test_a_column_dropped_and_added_again_is_filled_by_the_same_batch(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, EARLY)
    apply(lab, EARLY.replace(AGE, "").replace("0.1.0", "0.2.0"), allow_loss=True)
    apply(lab, EARLY.replace("0.1.0", "0.3.0"))
    assert lab.rows("SELECT age FROM people_v0.people") == [(None,), (None,)]
    assert lab.ingest("people.people").status == "published"
    assert lab.rows("SELECT age FROM people_v0.people ORDER BY id") == [(30,), (41,)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "words"),
    [
        # A text that is no number; a cast that Postgres does not have.
        (
            EARLY.replace(
                "name, logicalType: string, required: true, logicalTypeOptions: {maxLength: 20}",
                "name, logicalType: integer",
            ),
            "its records violate the contract: invalid input syntax",
        ),
        (
            EARLY.replace("born, logicalType: date", "born, logicalType: boolean"),
            "violate the contract: invalid input syntax for type boolean",
        ),
    ],
)
def test_a_type_that_cannot_be_cast_is_told_in_words_and_leaves_no_script_behind(
    make_lab: Callable[..., Lab], after: str, words: str
) -> None:
    lab = published(make_lab, EARLY)
    before, there = scripts(lab), columns(lab)
    with pytest.raises(MigrationError, match=words):
        apply(lab, after.replace("0.1.0", "0.2.0"), allow_loss=True)
    assert (scripts(lab), columns(lab)) == (before, there)
    # The way back is open.
    assert apply(lab, EARLY).applied == []


@pytest.mark.slow
def test_a_type_that_can_be_cast_is_converted_in_current_and_history(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, EARLY)
    lab.ingest("people.people", RECORDS.replace("41", "42"))
    text = EARLY.replace(AGE, "      - {name: age, logicalType: string}\n")
    apply(lab, text.replace("0.1.0", "0.2.0"), allow_loss=True)
    assert columns(lab)["age"] == columns(lab, "people_history")["age"] == "text"
    assert lab.rows("SELECT age FROM people_v0.people ORDER BY id") == [("30",), ("42",)]
    assert lab.rows("SELECT age FROM people_v0.people_history") == [("41",)]
    apply(lab, EARLY.replace("0.1.0", "0.3.0"), allow_loss=True)
    assert lab.rows("SELECT age FROM people_v0.people ORDER BY id") == [(30,), (42,)]


@pytest.mark.slow
def test_a_key_over_records_that_share_it_is_refused_in_words(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(EARLY)
    lab.ingest("people.people", RECORDS.replace("Bob", "Ann"))
    by_name = EARLY.replace("id, logicalType: integer, primaryKey: true", "id, logicalType: integer").replace(
        "name: name, logicalType: string, required: true", "name: name, logicalType: string, primaryKey: true"
    )
    with pytest.raises(MigrationError, match="its records violate the contract: could not create unique index"):
        apply(lab, by_name.replace("0.1.0", "0.2.0"))
    lab.ingest("people.people", RECORDS)
    with pytest.raises(MigrationError, match="would lose data: older revisions in people_history"):
        apply(lab, by_name.replace("0.1.0", "0.2.0"))
    apply(lab, by_name.replace("0.1.0", "0.2.0"), allow_loss=True)
    assert lab.rows("SELECT revision, oldest_revision FROM decant.datasets") == [(2, 2)]
    changed = Lab(lab.settings, lab.urls)
    report = changed.ingest("people.people", RECORDS.replace("1,Ann", "9,Ann"))
    assert report.outcome is not None
    assert (report.outcome.inserted, report.outcome.updated) == (0, 1)


@pytest.mark.slow
def test_names_that_need_quotes_are_migrated_like_any_other(make_lab: Callable[..., Lab]) -> None:
    odd = EARLY.replace("{name: age,", "{name: age, physicalName: 'A:g\"e %s',").replace(
        "  - name: people\n", "  - name: people\n    physicalName: 'Peo:ple %'\n"
    )
    lab = published(make_lab, odd)
    wider = odd.replace("logicalType: integer, logicalTypeOptions: {minimum: 0, maximum: 150}", "logicalType: string")
    apply(lab, wider.replace("0.1.0", "0.2.0"), allow_loss=True)
    assert columns(lab, "Peo:ple %")['A:g"e %s'] == "text"


# Locks


@pytest.mark.slow
def test_a_table_in_use_is_said_to_be_in_use(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, lock_timeout_ms=200)
    lab.ingest("people.people", RECORDS)
    before = scripts(lab)
    indexed = PEOPLE.replace(
        "{name: born, logicalType: date}",
        "{name: born, logicalType: date, customProperties: [{property: indexed, value: true}]}",
    ).replace("1.0.0", "1.0.1")
    with psycopg.connect(lab.urls.owner) as other:
        other.execute("LOCK TABLE people_v1.people IN ROW EXCLUSIVE MODE")
        with pytest.raises(MigrationError, match=r"its tables were locked for 0\.2 s.*DECANT_LOCK_TIMEOUT_MS"):
            apply(lab, indexed)
    assert scripts(lab) == before
    assert apply(lab, indexed).applied == ["people_v1_0002"]


def test_a_second_migration_waits_for_its_turn_and_then_says_so(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, lock_timeout_ms=200)
    with psycopg.connect(lab.urls.owner) as other:
        other.execute("LOCK TABLE decant.migration_lock IN SHARE ROW EXCLUSIVE MODE")
        with pytest.raises(MigrationError, match="Another migration is running"):
            lab.migrate()


def test_a_contract_that_cannot_be_read_any_more_does_not_stand_in_the_way(make_lab: Callable[..., Lab]) -> None:
    lab = published(make_lab, PEOPLE)
    with psycopg.connect(lab.urls.owner) as connection:
        connection.execute("UPDATE decant.contracts SET source = 'id: [', sha256 = ''")
    assert apply(lab, PEOPLE).steps == []
    assert lab.rows("SELECT version FROM decant.contracts WHERE source LIKE '%%People%%'") == [("1.0.0",)]


def test_decant_s_own_tables_stay_where_there_is_no_contract_yet(lab: Lab) -> None:
    lab.catalog = Catalog({})
    lab.migrate()
    assert lab.rows("SELECT count(*) FROM decant.loads") == [(0,)]


def test_a_key_of_whole_numbers_gets_no_sequence(lab: Lab) -> None:
    lab.migrate()
    assert lab.rows("SELECT count(*) FROM pg_sequences WHERE schemaname = 'people_v1'") == [(0,)]


# Names and contracts of others


@pytest.mark.slow
def test_a_product_with_a_long_name_and_one_without_datasets_are_migrated(make_lab: Callable[..., Lab]) -> None:
    long = PEOPLE.replace("id: people", "id: 0f3c1f8e-9a3b-4f7e-8a35-6d3b1f0c9c11", 1)
    nothing = "apiVersion: v3.0.2\nkind: DataContract\nid: nothing\nversion: 1.0.0\nstatus: active\nschema: []\n"
    lab = make_lab(long, nothing)
    lab.migrate()
    versions = [name for (name,) in lab.rows("SELECT version_num FROM decant.alembic_version")]
    assert "0f3c1f8e_9a3b_4f7e_8a35_6d3b1f0c9c11_v1_0001" in versions
