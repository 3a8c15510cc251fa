"""Tables in partitions: made, counted again, put together, and nothing of what stands beside them is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors

from catalog.migration.migrate import MigrationReport, migrate, plan_migration
from catalog.migration.partitions import find_layout, write_copy
from catalog.storage.dataset_tables import build_tables
from ingest.inspection.column_statistics import make_profile
from runtime.errors import MigrationError
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab, walk
from tests.support.waiting import wait_until

INDEXED = PEOPLE.replace(
    "logicalType: date}", "logicalType: date, customProperties: [{property: indexed, value: true}]}"
).replace("required: true,", "customProperties: [{property: searchable, value: true}], required: true,")
DERIVED = """
apiVersion: v3.1.0
kind: DataContract
id: derived
version: 1.0.0
status: active
schema:
  - name: people
    customProperties: [{property: input, value: {query: "select id from people_v1.people"}}]
    properties: [{name: id, logicalType: integer, primaryKey: true}]
"""
RECORDS = "id,name,age,born\n" + "".join(f"{n},Ann,{n % 50},2000-01-31\n" for n in range(1, 41))
CHANGED = RECORDS.replace(",Ann,7,", ",Bob,7,")

PARTITIONS = "SELECT oid::regclass::text FROM pg_class WHERE relispartition AND relkind = 'r'"


def spread(number: int | None, text: str = INDEXED, version: str = "1.0.0") -> str:
    """The contract with so many partitions."""
    line = f"      - {{property: partitions, value: {number}}}\n" if number else ""
    wanted = "      - {property: maxDeleted, value: 100}\n"
    return text.replace(wanted, wanted + line).replace("version: 1.0.0", f"version: {version}")


def change(lab: Lab, text: str) -> Lab:
    (lab.settings.contracts / "contract0.odcs.yaml").write_text(text)
    return Lab(lab.settings, lab.urls)


def apply(lab: Lab, text: str, *, allow_loss: bool = False) -> MigrationReport:
    changed = change(lab, text)
    return migrate(changed.settings, changed.urls.owner, changed.catalog, allow_loss=allow_loss)


def plan(lab: Lab) -> list[str]:
    return plan_migration(lab.settings, lab.urls.owner, lab.catalog)


def layout(lab: Lab) -> dict[str, list[str]]:
    """The partitions of each table."""
    rows = lab.rows(
        "SELECT c.relname, array_remove(array_agg(i.inhrelid::regclass::text), NULL)"
        " FROM pg_class AS c LEFT JOIN pg_inherits AS i ON i.inhparent = c.oid"
        " WHERE c.relnamespace = 'people_v1'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        " GROUP BY 1"
    )
    return {name: sorted(part.removeprefix("people_v1.") for part in parts) for name, parts in rows}


def names(number: int) -> dict[str, list[str]]:
    tables = ("people", "people_history")
    return {table: sorted(f"_{table}_{n}_of_{number}" for n in range(number)) for table in tables}


def indexes(lab: Lab) -> list[Any]:
    """What stands beside the tables: indexes, rights, row security, comments, statistics."""
    return [
        lab.rows(
            "SELECT tablename, indexname, replace(indexdef, ' ONLY ', ' ') FROM pg_indexes"
            " WHERE schemaname = 'people_v1' AND tablename !~ '^_' ORDER BY 1, 2"
        ),
        lab.rows(
            "SELECT c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable"
            " FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a"
            " WHERE c.relnamespace = 'people_v1'::regnamespace"
            " AND NOT c.relispartition AND c.relkind IN ('r', 'p') AND a.grantee <> c.relowner ORDER BY 1, 2, 3"
        ),
        lab.rows(
            "SELECT a.attrelid::regclass::text, attname, attacl::text, coalesce(nullif(attstattarget, -1), 0),"
            " attoptions, attnotnull, col_description(attrelid, attnum), format_type(atttypid, atttypmod)"
            " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
            " WHERE c.relnamespace = 'people_v1'::regnamespace AND NOT c.relispartition AND c.relkind IN ('r', 'p')"
            " AND attnum > 0 AND NOT attisdropped ORDER BY 1, attnum"
        ),
        lab.rows(
            "SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies ORDER BY 1, 2"
        ),
        lab.rows(
            "SELECT relname, relrowsecurity, relforcerowsecurity, relowner::regrole, obj_description(oid, 'pg_class')"
            " FROM pg_class WHERE relnamespace = 'people_v1'::regnamespace AND NOT relispartition"
            " AND relkind IN ('r', 'p') ORDER BY 1"
        ),
        lab.rows("SELECT stxrelid::regclass::text, stxkeys::text, stxkind FROM pg_statistic_ext ORDER BY 1"),
    ]


def settings_of_pieces(lab: Lab) -> set[Any]:
    """What the tables that hold the current records say of their columns and of themselves; one where all agree."""
    rows = lab.rows(
        "SELECT ARRAY(SELECT row(attname, coalesce(nullif(attstattarget, -1), 0), attstorage, attcompression)::text"
        " FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum)::text,"
        " c.reloptions::text, t.reloptions::text"
        " FROM pg_class AS c LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid"
        " WHERE c.relnamespace = 'people_v1'::regnamespace AND c.relkind = 'r'"
        " AND c.relname ~ '^_?people(_[0-9]+_of_[0-9]+)?$'"
    )
    return set(rows)


def content(lab: Lab) -> list[Any]:
    return [
        lab.rows(f"SELECT * FROM people_v1.{table} ORDER BY id, _revision") for table in ("people", "people_history")
    ]


@pytest.fixture
def people(make_lab: Callable[..., Lab]) -> Lab:
    """40 records, one of them changed once; in one piece."""
    lab = make_lab(INDEXED)
    for text in (RECORDS, CHANGED):
        assert lab.ingest("people.people", text).status == "published"
    return lab


@pytest.mark.slow
def test_a_new_dataset_has_its_partitions_and_nothing_is_left_to_migrate(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(spread(8))
    assert layout(lab) == names(8)
    assert plan(lab) == []
    assert migrate(lab.settings, lab.urls.owner, lab.catalog).written == []
    assert lab.ingest("people.people", RECORDS).status == "published"
    sizes = lab.rows("SELECT tableoid, count(*) FROM people_v1.people GROUP BY 1")
    assert len(sizes) == 8
    # The first load took the indexes away and made them again, of all partitions.
    assert lab.rows("SELECT 1 FROM pg_index WHERE NOT indisvalid") == []
    attached = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'people_v1.ix_people_born'::regclass"
    assert lab.rows(attached) == [(8,)]
    assert plan(lab) == []


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(8, 4, None, 2), (8, None), (2, 16, 3)])
def test_a_loaded_table_is_copied_and_keeps_all_that_it_had(people: Lab, numbers: tuple[int | None, ...]) -> None:
    with psycopg.connect(people.urls.owner, autocommit=True) as owner:
        for statement in (
            "ALTER TABLE people_v1.people ALTER COLUMN name SET STATISTICS 500",
            "ALTER TABLE people_v1.people ALTER COLUMN age SET (n_distinct = 50)",
            "ALTER TABLE people_v1.people ALTER COLUMN name SET STORAGE EXTERNAL",
            "ALTER TABLE people_v1.people ALTER COLUMN name SET COMPRESSION pglz",
            "ALTER TABLE people_v1.people SET (fillfactor = 90, toast.autovacuum_vacuum_threshold = 9)",
            "CREATE STATISTICS people_v1.seen (ndistinct, dependencies) ON name, age FROM people_v1.people",
            "ALTER TABLE people_v1.people ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY every ON people_v1.people TO decant_read, decant_ingest USING (true) WITH CHECK (true)",
            "CREATE POLICY adults ON people_v1.people AS RESTRICTIVE FOR SELECT TO decant_write USING (age > 17)",
            "GRANT SELECT (name, age), UPDATE (age) ON people_v1.people TO decant_write WITH GRANT OPTION",
            "GRANT SELECT ON people_v1.people_history TO PUBLIC",
        ):
            owner.execute(statement.encode())
    before, records, pieces = indexes(people), content(people), settings_of_pieces(people)
    assert len(pieces) == 1
    for step, number in enumerate(numbers, 1):
        text = spread(number, version=f"1.0.{step}")
        planned = plan(change(people, text))
        assert any("partitions is" in line for line in planned)
        assert sum("change partitions" in line for line in planned) == 2
        assert apply(people, text).applied == [f"people_v1_{step + 1:04d}"]
        assert layout(people) == (names(number) if number else {"people": [], "people_history": []})
        assert indexes(people) == before
        assert content(people) == records
        assert settings_of_pieces(people) == pieces
        assert plan(change(people, text)) == []
    lab = change(people, text)
    assert lab.ingest("people.people", RECORDS).status == "published"
    with lab.serve() as client:
        assert [len(walk(client, f"/data/people/v1/people/records?at={at}&limit=7")) for at in (1, 2, 3)] == [40] * 3
        assert client.get("/data/people/v1/people/records?q=bob&at=2").json()["data"][0]["name"] == "Bob"


@pytest.mark.slow
def test_the_step_that_it_demands_is_a_patch(people: Lab) -> None:
    with pytest.raises(MigrationError, match=r"partitions is 4 instead of none[\s\S]*set version 1\.0\.1 or later"):
        apply(people, spread(4))
    assert layout(people) == {"people": [], "people_history": []}


@pytest.mark.slow
def test_the_column_of_partitions_changes_with_its_type_and_with_the_key(make_lab: Callable[..., Lab]) -> None:
    text = spread(4, version="1.0.2").replace("status: active", "status: draft")
    people = make_lab(text)
    assert people.ingest("people.people", CHANGED).status == "published"
    wider = text.replace("id, logicalType: integer", "id, logicalType: number, physicalType: 'numeric(12,2)'")
    wider = wider.replace("1.0.2", "1.0.3")
    apply(people, wider, allow_loss=True)
    assert plan(change(people, wider)) == []
    assert layout(people) == names(4)
    assert people.rows("SELECT count(*), sum(id) FROM people_v1.people") == [(40, 820)]
    keyed = wider.replace("primaryKey: true}", "primaryKey: true, primaryKeyPosition: 2}").replace(
        "{name: name, ", "{name: name, primaryKey: true, primaryKeyPosition: 1, "
    )
    keyed = keyed.replace("1.0.3", "1.0.4")
    apply(people, keyed, allow_loss=True)
    assert plan(change(people, keyed)) == []
    assert layout(people) == names(4)
    assert people.rows("SELECT count(DISTINCT tableoid) FROM people_v1.people") == [(2,)]  # Ann's and Bob's
    gone = keyed.replace("1.0.4", "1.0.5").replace("primaryKey: true, primaryKeyPosition: 1, ", "")
    gone = "".join(line for line in gone.splitlines(keepends=True) if "{name: name," not in line)
    apply(people, gone, allow_loss=True)
    assert plan(change(people, gone)) == []
    assert layout(people) == names(4)
    assert people.rows("SELECT count(*) FROM people_v1.people") == [(40,)]


@pytest.mark.slow
def test_a_dataset_that_goes_takes_its_partitions_with_it(make_lab: Callable[..., Lab]) -> None:
    other = "  - name: other\n    properties: [{name: id, logicalType: integer, primaryKey: true}]\nroles:"
    lab = make_lab(spread(4).replace("roles:", other))
    text = spread(4).replace("name: people\n    custom", "name: persons\n    custom")
    apply(lab, text)
    assert sorted(layout(lab)) == ["persons", "persons_history"]
    assert lab.rows(PARTITIONS.replace("oid::regclass::text", "count(*)")) == [(8,)]


@pytest.mark.slow
def test_what_a_copy_would_lose_stops_it(people: Lab) -> None:
    for made, dropped, told in (
        ("VIEW people_v1.mine AS SELECT name FROM people_v1.people", "VIEW people_v1.mine", "other objects depend"),
        ("PUBLICATION mine FOR TABLE people_v1.people_history", "PUBLICATION mine", "publication mine"),
        (
            "TRIGGER mine BEFORE UPDATE ON people_v1.people FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "TRIGGER mine ON people_v1.people",
            "trigger mine",
        ),
    ):
        with psycopg.connect(people.urls.owner, autocommit=True) as owner:
            owner.execute(f"CREATE {made}".encode())
            with pytest.raises(MigrationError, match=told) as refused:
                apply(people, spread(4, version="1.0.1"))
            assert "No change was made" in str(refused.value)
            assert layout(people) == {"people": [], "people_history": []}
            owner.execute(f"DROP {dropped}".encode())
    assert apply(people, spread(4, version="1.0.1")).applied == ["people_v1_0002"]


def test_indexes_and_comments_of_others_are_copied_and_an_index_that_cannot_be_stops_it(people: Lab) -> None:
    call = "SELECT decant.repartition('people_v1.people', 'id', ARRAY['_a', '_b'])"
    with psycopg.connect(people.urls.owner, autocommit=True) as owner:
        owner.execute("COMMENT ON TABLE people_v1.people IS 'all''s well'")
        owner.execute("COMMENT ON COLUMN people_v1.people.age IS 'in years'")
        owner.execute("CREATE INDEX mine ON people_v1.people (lower(name)) WHERE age > 3")
        owner.execute('CREATE UNIQUE INDEX "Mine ON ONLY" ON people_v1.people (id, lower(name)) INCLUDE (age)')
        before = indexes(people)
        owner.execute(call.encode())
        assert indexes(people) == before
        owner.execute(call.replace("'_a', '_b'", "").replace("'id'", "NULL").replace("[]", "[]::name[]").encode())
        assert indexes(people) == before
        owner.execute("CREATE UNIQUE INDEX theirs ON people_v1.people (name, _line)")
        with pytest.raises(errors.FeatureNotSupported):
            owner.execute(call.encode())
        assert layout(people)["people"] == []


@pytest.mark.slow
def test_a_partition_that_somebody_takes_off_is_found(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(spread(4))
    with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        owner.execute("ALTER TABLE people_v1.people DETACH PARTITION people_v1._people_0_of_4")
        owner.execute("DROP TABLE people_v1._people_0_of_4")
    assert plan(lab) == ["people_v1: change partitions people: 4 by id instead of 3 by id, by a copy"]
    migrate(lab.settings, lab.urls.owner, lab.catalog)
    assert layout(lab) == names(4)
    assert plan(lab) == []


def test_a_login_reaches_a_partition_by_its_table_alone(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(spread(4))
    lab.ingest("people.people", RECORDS)
    for login in ("ingest", "read", "write"):
        with psycopg.connect(getattr(lab.urls, login), autocommit=True) as connection:
            for (name,) in lab.rows(
                "SELECT oid::regclass::text FROM pg_class WHERE relispartition AND relkind = 'r'"
            ):
                for statement in ("SELECT FROM {}", "INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}"):
                    with pytest.raises(errors.InsufficientPrivilege):
                        connection.execute(statement.format(name).encode())
    with psycopg.connect(lab.urls.ingest, autocommit=True) as ingest:
        notices: list[str] = []
        ingest.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        ingest.execute("VACUUM (ANALYZE) people_v1.people")
        assert notices == []
    analyzed = "SELECT count(*) FROM pg_class WHERE relname ~ '^_?people(_._of_4)?$' AND reltuples > 0"
    assert lab.rows(analyzed) == [(5,)]


@contextmanager
def copied(lab: Lab, login: str) -> Iterator[None]:
    """Copies the tables, and puts the copies in their places once the login waits for them."""
    tables = build_tables(lab.catalog.products.values()).of(lab.dataset("people.people"))
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = %s"
    with psycopg.connect(lab.urls.owner) as copying:
        for table in (tables.current, tables.history):
            for operation in write_copy(table, find_layout(table)):
                copying.execute(str(operation.sqltext).replace("\\:", ":").encode())
        yield
        wait_until(lambda: bool(lab.rows(waits, f"decant_{login}")))
        copying.commit()


@pytest.mark.slow
def test_a_load_that_meets_a_copy_waits_for_it(people: Lab) -> None:
    lab = change(people, spread(4, version="1.0.1"))
    with ThreadPoolExecutor(1) as pool:
        with copied(lab, "ingest"):
            load = pool.submit(people.ingest, "people.people", RECORDS)
        assert load.result().status == "published"
    assert layout(people) == names(4)
    assert people.rows("SELECT count(*), max(_revision) FROM people_v1.people") == [(40, 3)]
    assert people.rows("SELECT count(*), max(_until) FROM people_v1.people_history") == [(2, 3)]


@pytest.mark.slow
def test_who_reads_in_several_steps_sees_no_empty_table_in_place_of_the_one_that_was_copied(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(INDEXED, DERIVED)
    assert lab.ingest("people.people", RECORDS).status == "published"
    dataset = lab.dataset("people.people")
    tables = build_tables(lab.catalog.products.values()).of(dataset)
    made = (change(lab, spread(number)) for number in range(2, 6))
    base = "/data/people/v1/people"
    with lab.serve() as client, ThreadPoolExecutor(1) as pool:
        client.get(f"{base}/records")
        with copied(next(made), "read"):
            export = pool.submit(client.get, f"{base}/export?format=csv&at=1")
        assert len(export.result().text.splitlines()) == 41
        with copied(next(made), "read"):
            page = pool.submit(client.get, f"{base}/records?limit=30&at=1&sort=age")
        assert len(page.result().json()["data"]) == 30
        with copied(next(made), "ingest"):
            profile = pool.submit(make_profile, make_engine(lab.urls.ingest), tables, 1)
        assert profile.result()
        assert client.get(f"{base}/profile").json()["data"][0]["distinct"] == 40
        with copied(next(made), "ingest"):
            derived = pool.submit(lab.loader().run, lab.dataset("derived.people"))
        assert derived.result().outcome.raw == 40
