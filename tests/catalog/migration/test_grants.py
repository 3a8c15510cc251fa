"""Each login of the database tries everything on every table, and gets through with what is its own alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from ingest.ledger.lease import LOCK_CLASS
from runtime.postgres.pools import make_read_pool, make_write_pool
from tests.support.lab import PEOPLE, Lab

# s: select, i: insert, u: update, d: delete; for the logins ingest, read and write. A table that is not here may be
# touched by the owner alone.
RIGHTS = {
    "decant.datasets": ("siud", "s", "s"),
    "decant.loads": ("siud", "s", "si"),
    "decant.revisions": ("siud", "s", ""),
    "decant.quality_results": ("siud", "s", ""),
    "decant.rejected_records": ("siud", "s", ""),
    "decant.input_states": ("siud", "s", ""),
    "decant.profiles": ("siud", "s", ""),
    "decant.profile_history": ("siud", "s", ""),
    "decant.contracts": ("s", "s", ""),
    "decant.locks": ("su", "", ""),  # one sweep at a time
    "decant.watched_inputs": ("siu", "", ""),
    "decant.stream_lags": ("siu", "s", ""),
    "decant.workers": ("siud", "s", ""),
    "decant.outbox": ("siud", "", "s"),
    "decant.outbox_cursors": ("siud", "", ""),
    "decant.incidents": ("siud", "s", ""),
    "decant.incident_messages": ("siud", "s", ""),
    "decant.subscriptions": ("s", "", "siud"),  # who sends moves it on, and changes neither owner nor address
    "decant.deliveries": ("sid", "", "s"),
    "decant.epochs": ("si", "s", ""),  # a load that finds the database restored begins one
    "decant.receipts": ("siud", "s", "si"),
    "decant.events": ("siud", "s", "si"),
    "decant.receipt_events": ("siud", "s", "si"),
    "decant.audit_log": ("s", "s", ""),  # written by note_audit alone
    "decant.idempotency_keys": ("d", "", "siud"),  # old ones are forgotten by the worker
    "decant.api_keys": ("", "", "siu"),
    "decant.key_usage": ("", "", "siu"),
    "decant.key_refusals": ("", "", "siu"),
    "decant.rate_leases": ("", "", "siud"),
    "decant.sessions": ("", "", "siud"),
    "people_v1.people": ("siud", "s", ""),
    "people_v1.people_history": ("siud", "s", ""),
}
LOGINS = ("ingest", "read", "write")
QUEUE = "decant_queue"
ACTIONS = {
    "s": "SELECT * FROM {table} LIMIT 0",
    "i": "INSERT INTO {table} SELECT WHERE false",
    "u": "UPDATE {table} SET {column} = DEFAULT WHERE false",
    "d": "DELETE FROM {table} WHERE false",
    "t": "TRUNCATE {table}",
}
TABLES = """
SELECT n.nspname, c.relname, (
    SELECT attname FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attidentity = '' ORDER BY attnum LIMIT 1)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^(pg_|information_schema$)'
"""


@pytest.fixture
def people(lab: Lab) -> Lab:
    lab.ingest("people.people", "id,name,age,born\n1,Ann,30,1990-01-31\n,x,1,\n")
    return lab


def attempt(connection: psycopg.Connection[Any], statement: sql.Composable | str) -> bool:
    """Whether the login may run a statement, whatever else is wrong with it; nothing of it stays."""
    with suppress(errors.IntegrityError):
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(statement if isinstance(statement, sql.Composable) else statement.encode())
        except errors.InsufficientPrivilege:
            return False
    return True


@pytest.mark.sampled
@pytest.mark.parametrize("login", LOGINS)
def test_a_login_touches_no_table_in_another_way_than_its_own(people: Lab, login: str) -> None:
    found = {}
    with psycopg.connect(getattr(people.urls, login), autocommit=True) as connection:
        for schema, table, column in people.rows(TABLES):
            names = {"table": sql.Identifier(schema, table), "column": sql.Identifier(column)}
            done = (key for key, text in ACTIONS.items() if attempt(connection, sql.SQL(text).format(**names)))
            found[f"{schema}.{table}"] = "".join(done)
    queue = {name: rights for name, rights in found.items() if name.startswith(f"{QUEUE}.")}
    assert queue
    assert set(queue.values()) == {"siud" if login == "ingest" else ""}
    others = {name: rights for name, rights in found.items() if name not in queue}
    assert set(RIGHTS) <= set(others)
    expected = dict.fromkeys(others, "") | {name: rights[LOGINS.index(login)] for name, rights in RIGHTS.items()}
    assert others == expected


@pytest.mark.sampled
@pytest.mark.parametrize("login", LOGINS)
def test_a_login_becomes_nobody_else_and_makes_or_changes_nothing(people: Lab, login: str) -> None:
    refused = [
        "CREATE TABLE decant.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE TABLE people_v1.mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE FUNCTION decant.mine() RETURNS int LANGUAGE sql RETURN 1",
        "ALTER TABLE people_v1.people ADD COLUMN mine int",
        "DROP TABLE people_v1.people",
        "CREATE INDEX ON people_v1.people (age)",
        "CREATE TRIGGER mine BEFORE INSERT ON people_v1.people EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER TABLE decant.api_keys DISABLE ROW LEVEL SECURITY",
        "SET SESSION AUTHORIZATION decant",
        "SET ROLE decant",
        "SET session_replication_role = replica",
        "COPY people_v1.people TO '/tmp/stolen'",
        "COPY people_v1.people TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/hostname')",
        "SELECT rolpassword FROM pg_authid",
        *(f"SET ROLE decant_{other}" for other in LOGINS if other != login),
    ]
    if login != "ingest":
        refused += [
            "CREATE TEMPORARY TABLE mine (id int)",
            "SELECT lo_from_bytea(0, 'x')",
            "SELECT lo_create(0)",
            "CREATE TABLE decant_staging.mine (id int)",
            "SELECT decant.park_indexes('people_v1.people')",
            "SELECT decant.restore_indexes('people_v1.people')",
        ]
    people.migrate()  # a database made from a template lacks what its own rights were
    with psycopg.connect(getattr(people.urls, login), autocommit=True) as connection:
        got_through = [statement for statement in refused if attempt(connection, statement)]
    assert got_through == []


def test_a_lock_of_who_only_reads_holds_up_neither_migration_nor_load(people: Lab) -> None:
    (dataset_id,) = people.rows("SELECT id FROM decant.datasets")[0]
    with psycopg.connect(people.urls.read, autocommit=True) as reader:
        for key in (f"{LOCK_CLASS}, {dataset_id}", "110425372093044", "110425372095351"):
            reader.execute(f"SELECT pg_advisory_lock({key})".encode())
        people.migrate()
        assert people.ingest("people.people", "id,name,age,born\n2,Bob,31,1991-01-31\n").status == "published"


def test_audit_entries_are_added_by_function_and_tampering_is_found(people: Lab) -> None:
    note = "SELECT decant.note_audit(%s, 'test', 'people', NULL, NULL, %s)"
    for login in ("write", "ingest"):
        with psycopg.connect(getattr(people.urls, login), autocommit=True) as connection:
            connection.execute(note.encode(), ("somebody else", Jsonb({"a": [1, "é"]})))
    with psycopg.connect(people.urls.read, autocommit=True) as reader:
        assert not attempt(reader, note.replace("%s", "NULL"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: people.rows(note, f"number {n}", Jsonb({"n": n})), range(12)))
    assert people.rows("SELECT login FROM decant.audit_log ORDER BY id LIMIT 2") == [
        ("decant_write",),
        ("decant_ingest",),
    ]
    assert people.rows("SELECT decant.broken_audit()") == []
    with psycopg.connect(people.urls.owner, autocommit=True) as owner:
        for tampering, found in (
            ("UPDATE decant.audit_log SET principal = 'me' WHERE id = 3", [(3,)]),
            ("UPDATE decant.audit_log SET at = at - interval '1 day' WHERE id = 5", [(5,)]),
            ("DELETE FROM decant.audit_log WHERE id = 7", [(8,)]),
            ("DELETE FROM decant.audit_log WHERE id = (SELECT max(id) FROM decant.audit_log)", [(0,)]),
        ):
            with owner.transaction(force_rollback=True):
                owner.execute(tampering.encode())
                assert owner.execute("SELECT decant.broken_audit()").fetchall() == found, tampering


def test_the_write_login_queues_loads_and_writes_nothing_else_of_them(people: Lab) -> None:
    queue = "INSERT INTO decant.loads (dataset_id, kind, requested_by{}) VALUES (1, 'ingest', 'x'{})"
    with psycopg.connect(people.urls.write, autocommit=True) as connection:
        assert attempt(connection, queue.format("", ""))
        made = connection.execute(queue.format("", "").encode() + b" RETURNING status").fetchone()
        assert made == ("queued",)
        later = (
            "status",
            "revision",
            "fencing_token",
            "attempt",
            "landed",
            "lease_until",
            "retry_at",
            "scheduled_at",
        )
        for column in later:
            assert not attempt(connection, queue.format(f", {column}", ", DEFAULT")), column


def ask(pool: Any, *statements: str) -> list[Any]:
    """What each statement gives on a connection of the pool: its first value, or the class of its error."""

    async def run() -> list[Any]:
        found: list[Any] = []
        async with pool:
            await pool.open(wait=True)
            async with pool.connection() as connection:
                for statement in statements:
                    try:
                        row = await (await connection.execute(statement.encode())).fetchone()
                        found.append(row[0].decode() if isinstance(row[0], bytes) else row[0])
                    except psycopg.Error as error:
                        found.append(type(error))
        return found

    return asyncio.run(run())


def test_what_reads_has_limits_of_time_space_and_locks(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE, query_timeout_ms=1234, query_temp_mb=7)
    names = ("default_transaction_read_only", "statement_timeout", "transaction_timeout", "lock_timeout",
             "idle_in_transaction_session_timeout", "temp_file_limit", "TimeZone")  # fmt: skip
    found = ask(make_read_pool(lab.urls.read, lab.settings), *(f"SHOW {name}" for name in names))
    assert found == ["on", "1234ms", "11234ms", "1s", "30s", "7MB", "UTC"]
    found = ask(make_write_pool(lab.urls.write, lab.settings), *(f"SHOW {name}" for name in names[1:6]))
    assert (found[0], found[3]) == ("10s", "30s")


def test_what_reads_cannot_write_even_where_its_login_could(lab: Lab) -> None:
    assert ask(
        make_read_pool(lab.urls.owner, lab.settings),
        "UPDATE decant.datasets SET revision = 9 RETURNING 1",
        "CREATE TABLE mine (id int)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT nextval(pg_get_serial_sequence('decant.audit_log', 'id'))",
        "SELECT 1",
    ) == [errors.ReadOnlySqlTransaction] * 4 + [1]


def test_a_migration_takes_back_what_a_login_has_no_business_with(lab: Lab) -> None:
    with psycopg.connect(lab.urls.owner, autocommit=True) as owner:
        owner.execute("GRANT SELECT, UPDATE ON decant.api_keys TO decant_read, decant_ingest")
        owner.execute("GRANT UPDATE (revision) ON decant.loads TO decant_write")
    lab.migrate()
    for url, statement in (
        (lab.urls.read, "SELECT * FROM decant.api_keys"),
        (lab.urls.ingest, "SELECT * FROM decant.api_keys"),
        (lab.urls.write, "UPDATE decant.loads SET revision = 1 WHERE false"),
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            assert not attempt(connection, statement)
