"""Types of other databases, on real ones: each value becomes what its property means, or is refused in words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url

from tests.support.databases import Databases
from tests.support.lab import Lab
from tests.support.tools import MariaDB

HEAD = """
apiVersion: v3.1.0
kind: DataContract
id: odd
name: Odd
version: 1.0.0
status: active
servers:
  - {server: erp, type: custom, customProperties: [{property: url, value: "${ERP_URL}"}]}
schema:
  - name: odd
    customProperties:
      - {property: input, value: {server: erp, table: odd}}
      - {property: maxRejected, value: 100}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
"""
KINDS = {
    "text": "logicalType: string",
    "integer": "logicalType: integer",
    "bigint": "logicalType: integer, physicalType: bigint",
    "number": "logicalType: number",
    "numeric": 'logicalType: number, physicalType: "numeric(30,2)"',
    "boolean": "logicalType: boolean",
    "date": "logicalType: date",
    "time": "logicalType: time",
    "uuid": "logicalType: string, physicalType: uuid",
}
ID = "123e4567-e89b-12d3-a456-426614174000"
HEX = ID.replace("-", "")
WHOLE = "expected an integer"
TRUTH = "expected true, false, 1 or 0"
CLOCK = "expected a time such as 17:30:00"


class Refused(str):
    """The beginning of what is said of a value that is none of its property's type."""


Case = tuple[str, str, str, Any]  # a column's type, a value in SQL, the property's type, what becomes of it


def check(make_lab: Callable[..., Lab], run: Callable[[str], None], cases: list[Case]) -> None:
    """Loads a table of one row for each case, and compares what is published and what is rejected."""
    names = [f"c{number}" for number in range(len(cases))]
    columns = ", ".join(f"{name} {case[0]}" for name, case in zip(names, cases, strict=True))
    run(f"CREATE TABLE odd (id int PRIMARY KEY, {columns})")
    for number, case in enumerate(cases):
        run(f"INSERT INTO odd (id, c{number}) VALUES ({number}, {case[1]})")
    lab = make_lab(
        HEAD
        + "".join(f"      - {{name: {name}, {KINDS[case[2]]}}}\n" for name, case in zip(names, cases, strict=True)),
        input_roots="*=/",
    )
    report = lab.loader().run(lab.dataset("odd.odd"))
    assert report.status == "published", report.error
    said = {line - 1: reasons for line, reasons in lab.rows("SELECT line, reasons FROM decant.rejected_records")}
    found: list[Any] = []
    for number, name in enumerate(names):
        rows = lab.rows(f"SELECT {name} FROM odd_v1.odd WHERE id = {number}")
        found.append(rows[0][0] if rows else Refused(said[number][0]["message"]))
    wrong = [
        (case, value)
        for case, value in zip(cases, found, strict=True)
        if not (
            value.startswith(case[3])
            if isinstance(value, Refused) and isinstance(case[3], Refused)
            else (type(value), value) == (type(case[3]), case[3])
        )
    ]
    assert wrong == []


@pytest.fixture
def postgres(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Makes a database with these words behind CREATE DATABASE, and names its address."""
    made: list[str] = []

    def make(words: str = "") -> str:
        made.append(f"types_{len(made)}")
        databases.run(f'CREATE DATABASE "{made[-1]}" {words}')
        url = databases.urls(made[-1]).owner
        monkeypatch.setenv("ERP_URL", url)
        return url

    yield make
    for name in made:
        databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')


def runner(url: str, **options: str) -> Callable[[str], None]:
    """Runs statements in a Postgres database."""

    def run(statement: str) -> None:
        with psycopg.connect(url, autocommit=True, **options) as connection:  # type: ignore[arg-type]
            connection.execute(statement.encode())

    return run


POSTGRES: list[Case] = [
    # Bits are the number that they stand for where a number is asked for, and the texts that they are elsewhere.
    ("bit(8)", "B'00000101'", "text", "00000101"),
    ("varbit", "B''", "text", ""),
    ("bit(8)", "B'00000101'", "integer", 5),
    ("varbit", "B'101'", "integer", 5),
    ("bit(3)", "B'000'", "integer", 0),
    ("varbit", "B''", "integer", Refused(WHOLE)),
    ("bit(64)", f"B'0{'1' * 63}'", "bigint", 2**63 - 1),
    ("bit(64)", f"B'{'1' * 64}'", "bigint", Refused(WHOLE)),
    ("bit(64)", f"B'{'1' * 64}'", "integer", Refused(WHOLE)),
    ("bit(64)", f"B'{'1' * 64}'", "numeric", Decimal(2**64 - 1)),
    ("bit(80)", f"B'{'0' * 77}101'", "integer", 5),
    ("bit(8)", "B'00000110'", "number", 6.0),
    ("bit(1)", "B'1'", "boolean", True),
    ("bit(1)", "B'0'", "boolean", False),
    ("bit(8)", "B'00000001'", "boolean", True),
    ("varbit", "B'101'", "boolean", Refused(TRUTH)),
    ("varbit", "B''", "boolean", Refused(TRUTH)),
    ("bit(4)", "NULL", "integer", None),
    # A time with an offset is none of a clock without one; neither is the end of a day, nor a length of time.
    ("time", "'10:11:12.123456'", "time", time(10, 11, 12, 123456)),
    ("time", "'24:00:00'", "time", Refused(CLOCK)),
    ("timetz", "'10:11:12+00'", "time", Refused(CLOCK)),
    ("timetz", "'10:11:12.5+05:30'", "time", Refused(CLOCK)),
    ("interval", "'1 hour'", "time", Refused(CLOCK)),
    ("time", "'24:00:00'", "text", "24:00:00"),
    ("timetz", "'10:11:12.5+05:30'", "text", "10:11:12.5+05:30"),
    ("interval", "'-26 hours'", "text", "PT-26H"),
    ("uuid", f"'{ID}'", "uuid", UUID(ID)),
    ("uuid", f"'{ID}'", "text", ID),
    ("bytea", f"'\\x{HEX}'", "uuid", UUID(ID)),
    ("bytea", "'\\x1234'", "uuid", Refused("expected a UUID")),
    ("bytea", f"'{ID}'", "uuid", Refused("expected a UUID")),
    ("bytea", "NULL", "uuid", None),
    ("bytea", f"'\\x{HEX}'", "text", f"\\x{HEX}"),
    ("date", "'infinity'", "date", Refused("expected a date")),
    ("date", "'0044-03-15 BC'", "date", Refused("expected a date")),
    ("numeric", "'NaN'", "numeric", Refused("expected a decimal number")),
    ("boolean", "true", "integer", Refused(WHOLE)),
]


def test_types_of_postgres(make_lab: Callable[..., Lab], postgres: Callable[..., str]) -> None:
    check(make_lab, runner(postgres()), POSTGRES)


@pytest.mark.slow
def test_bits_under_any_name_and_beside_marks(make_lab: Callable[..., Lab], postgres: Callable[..., str]) -> None:
    run = runner(postgres())
    run('CREATE TABLE odd (id int PRIMARY KEY, "a ""b"":c%s {column}" bit(4), updated timestamptz, _row int)')
    run("INSERT INTO odd VALUES (2, B'0110', '2026-01-02', 1), (1, B'0011', '2026-01-01', 2)")
    lab = make_lab(
        HEAD.replace("table: odd", "sql: 'select * from odd', mode: upsert, incremental: {column: updated}")
        + "      - {name: updated, logicalType: timestamp}\n"
        + "      - {name: 'a \"b\":c%s {column}', physicalName: flags, logicalType: integer}\n"
    )
    report = lab.loader().run(lab.dataset("odd.odd"))
    assert report.status == "published", report.error
    run("INSERT INTO odd VALUES (3, B'1000', '2026-01-03', 1)")
    assert lab.loader().run(lab.dataset("odd.odd")).status == "published"
    assert lab.rows("SELECT id, flags FROM odd_v1.odd ORDER BY id") == [(1, 3), (2, 6), (3, 8)]


def test_texts_of_a_database_that_knows_no_encoding(
    make_lab: Callable[..., Lab], postgres: Callable[..., str]
) -> None:
    url = postgres("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'")
    run = runner(url, client_encoding="SQL_ASCII")
    run("CREATE TABLE odd (id int PRIMARY KEY, note text)")
    run("INSERT INTO odd VALUES (1, 'plain'), (2, E'\\303\\244'), (3, E'\\344'), (4, ''), (5, NULL)")
    lab = make_lab(HEAD + "      - {name: note, logicalType: string}\n")
    assert lab.loader().run(lab.dataset("odd.odd")).status == "published"
    assert lab.rows("SELECT id, note FROM odd_v1.odd ORDER BY id") == [(1, "plain"), (2, "ä"), (4, ""), (5, None)]
    ((line, reasons),) = lab.rows("SELECT line, reasons FROM decant.rejected_records")
    assert (line, reasons[0]["message"]) == (3, "the record is not utf-8 (byte 17)")


SQLITE: list[Case] = [
    ("TEXT", "'ä'", "text", "ä"),
    ("TEXT", "CAST(X'ff41' AS TEXT)", "text", Refused("the record is not utf-8")),
    ("TEXT", "CAST(X'eda080' AS TEXT)", "text", Refused("the record is not utf-8")),  # half of a character
    ("TEXT", "CAST(X'610062' AS TEXT)", "text", Refused("the record contains a NUL character")),
    ("INTEGER", "CAST(X'ff41' AS TEXT)", "integer", Refused("the record is not utf-8")),
    ("TEXT", "X'ff41'", "text", "\\xff41"),  # bytes, whatever their column says
    ("BLOB", "X'4142'", "text", "\\x4142"),
    ("BLOB", f"X'{HEX}'", "uuid", UUID(ID)),
    ("BLOB", f"'{ID}'", "uuid", UUID(ID)),
    ("BLOB", "X'12'", "uuid", Refused("expected a UUID")),
    ("BLOB", f"X'{HEX}00'", "uuid", Refused("expected a UUID")),
    ("BLOB", f"X'{HEX}'", "text", f"\\x{HEX}"),
    ("BLOB", "X'01'", "boolean", True),
    ("BLOB", "X'00'", "boolean", False),
    ("BLOB", "X'02'", "boolean", Refused(TRUTH)),
    ("BLOB", "X'0100'", "boolean", Refused(TRUTH)),
    ("BLOB", "X''", "boolean", Refused(TRUTH)),
    ("BLOB", "X'01'", "integer", Refused(WHOLE)),
    ("INTEGER", "2", "boolean", Refused(TRUTH)),
    ("TIME", "'10:11:12.5'", "time", time(10, 11, 12, 500000)),
    ("TIME", "'24:00:00'", "time", Refused(CLOCK)),
    ("REAL", "9007199254740993.0", "integer", Refused(WHOLE)),
    ("REAL", "1e400", "number", Refused("expected a finite decimal number")),
]


def test_types_of_sqlite(make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "odd.db"

    def run(statement: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    monkeypatch.setenv("ERP_URL", f"sqlite:///{path}")
    check(make_lab, run, SQLITE)


MARIADB: list[Case] = [
    ("BIT(1)", "b'1'", "boolean", True),
    ("BIT(1)", "b'0'", "boolean", False),
    ("BIT(8)", "b'1'", "boolean", True),
    ("BIT(8)", "b'101'", "boolean", Refused(TRUTH)),
    ("BIT(8)", "b'101'", "integer", 5),
    ("BIT(8)", "b'101'", "number", 5.0),
    ("BIT(8)", "b'101'", "text", "5"),
    ("BIT(64)", f"b'{'1' * 63}'", "bigint", 2**63 - 1),
    ("BIT(64)", f"b'{'1' * 64}'", "bigint", Refused(WHOLE)),
    ("BIT(64)", f"b'{'1' * 64}'", "numeric", Decimal(2**64 - 1)),
    ("BIT(8)", "NULL", "boolean", None),
    ("TIME(6)", "'10:11:12.123456'", "time", time(10, 11, 12, 123456)),
    ("TIME", "'00:00:00'", "time", time(0)),
    ("TIME", "'-00:00:01'", "time", Refused(CLOCK)),
    ("TIME", "'24:00:00'", "time", Refused(CLOCK)),
    ("TIME", "'838:59:59'", "time", Refused(CLOCK)),
    ("TIME", "'24:00:00'", "text", "PT86400S"),
    ("TIME(6)", "'-838:59:59.999999'", "text", "PT-3020399.999999S"),
    ("TIME", "'10:11:12'", "integer", Refused(WHOLE)),
    ("UUID", f"'{ID}'", "uuid", UUID(ID)),
    ("UUID", f"'{ID}'", "text", ID),
    ("BINARY(16)", f"UNHEX('{HEX}')", "uuid", UUID(ID)),
    ("BINARY(16)", f"UNHEX('{HEX}')", "text", f"\\x{HEX}"),
    ("VARBINARY(16)", "UNHEX('12')", "uuid", Refused("expected a UUID")),
    ("BINARY(1)", "UNHEX('02')", "boolean", Refused(TRUTH)),
    ("TINYINT(1)", "2", "boolean", Refused(TRUTH)),
    ("DATE", "'0000-00-00'", "date", Refused("expected a date")),
    ("DATETIME", "'2026-01-02 00:00:00'", "date", date(2026, 1, 2)),
    ("DATETIME", "'2026-01-02 10:00:00'", "date", Refused("expected a date")),
    ("DATETIME", "'2026-01-02 10:11:12'", "time", Refused(CLOCK)),
    ("BIGINT UNSIGNED", "18446744073709551615", "bigint", Refused(WHOLE)),
]


class Maria:
    """A database of MariaDB, as its owner sees it."""

    def __init__(self, mariadb: MariaDB) -> None:
        self.url = make_url(mariadb.url("odd"))
        self.run("DROP DATABASE IF EXISTS odd; CREATE DATABASE odd CHARACTER SET utf8mb4; USE odd")

    def run(self, statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of the last of some statements."""
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.url.port or 0,
            user=str(self.url.username),
            password=str(self.url.password),
            database=database,
            autocommit=True,
            charset="utf8mb4",
        )
        with closing(connection), connection.cursor() as cursor:
            for statement in statements.split(";"):
                cursor.execute(statement)
            return list(cursor.fetchall())


@pytest.fixture
def maria(mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> Maria:
    made = Maria(mariadb)
    monkeypatch.setenv("ERP_URL", mariadb.url("odd"))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["mysql+pymysql", "mariadb+pymysql"])
def test_types_of_mariadb(
    make_lab: Callable[..., Lab], maria: Maria, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setenv("ERP_URL", mariadb.url("odd", driver))
    check(make_lab, lambda statement: maria.run(statement, "odd") and None, MARIADB)  # type: ignore[func-returns-value]


def load(lab: Lab) -> tuple[str, str | None, str | None]:
    report = lab.loader().run(lab.dataset("odd.odd"))
    return report.status, report.error_code, report.error


@pytest.fixture
def odd(make_lab: Callable[..., Lab], maria: Maria) -> Lab:
    """A table of two rows, and the product that reads it."""
    maria.run(
        "CREATE TABLE odd (id int PRIMARY KEY, note varchar(20)); INSERT INTO odd VALUES (1, 'a'), (2, 'b')", "odd"
    )
    return make_lab(HEAD + "      - {name: note, logicalType: string}\n")


@pytest.mark.slow
def test_what_mariadb_refuses_is_said_without_its_login(
    odd: Lab, maria: Maria, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "The database erp rejects the login: check user, password and database."
    for change in ({"password": "canary-7f"}, {"username": "canary-7f"}, {"database": "canary-7f"}):
        monkeypatch.setenv("ERP_URL", maria.url.set(**change).render_as_string(hide_password=False))  # type: ignore[arg-type]
        status, code, error = load(odd)
        assert (status, code, error) == ("failed", "source_unreadable", refused)
    maria.run(
        "CREATE OR REPLACE USER 'canary'@'%' IDENTIFIED BY 'canary'; GRANT SELECT (id) ON odd.odd TO 'canary'@'%'"
    )
    monkeypatch.setenv(
        "ERP_URL", maria.url.set(username="canary", password="canary").render_as_string(hide_password=False)
    )
    status, code, error = load(odd)
    assert (status, code) == ("failed", "source_unreadable")
    assert error == "Reading odd of erp failed: SELECT command denied for table `odd`.`odd`"
    maria.run("DROP USER 'canary'@'%'")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP TABLE odd", "Reading odd of erp failed: Table 'odd.odd' doesn't exist"),
        ("ALTER TABLE odd DROP COLUMN note", "rows lacks the columns note; it has id."),
    ],
)
def test_what_is_missing_in_mariadb_is_named(odd: Lab, maria: Maria, change: str, said: str) -> None:
    maria.run(change, "odd")
    status, _, error = load(odd)
    assert (status, said in (error or "")) == ("failed", True), error


# Rows that take their time, so that somebody can stop the statement while they are read.
SLOW = "CREATE OR REPLACE VIEW odd AS SELECT seq AS id, concat('n', sleep(0.01)) AS note FROM seq_1_to_100000"


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("kill", "said"),
    [
        ("KILL QUERY", "Reading odd of erp was cancelled in the database."),
        ("KILL CONNECTION", "The database erp does not respond, or closed the connection."),
    ],
)
def test_a_statement_that_somebody_stops_is_tried_again_and_not_called_slow(
    odd: Lab, maria: Maria, kill: str, said: str
) -> None:
    assert load(odd)[0] == "published"
    maria.run("DROP TABLE odd; " + SLOW, "odd")
    found: list[tuple[str, str | None, str | None]] = []
    thread = threading.Thread(target=lambda: found.append(load(odd)))
    thread.start()
    running = "SELECT id FROM information_schema.processlist WHERE info LIKE '%FROM odd%' AND id <> connection_id()"
    for _ in range(2000):
        if numbers := maria.run(running):
            maria.run(f"{kill} {numbers[0][0]}")
            break
        thread.join(0.01)
    thread.join(60)
    assert found == [("failed", "source_unavailable", said)]
    assert odd.rows("SELECT count(*) FROM odd_v1.odd") == [(2,)]


def test_a_statement_of_mariadb_that_takes_too_long_is_called_slow(odd: Lab, maria: Maria) -> None:
    maria.run("DROP TABLE odd; " + SLOW, "odd")
    for file in odd.settings.contracts.iterdir():
        file.write_text(file.read_text().replace("table: odd", "table: odd, timeout: 1"))
    assert load(Lab(odd.settings, odd.urls))[2] == "Reading odd of erp took more than 1 seconds."


def test_a_statement_of_postgres_that_somebody_cancels_is_not_called_slow(
    make_lab: Callable[..., Lab], postgres: Callable[..., str]
) -> None:
    url = postgres()
    run = runner(url)
    run("CREATE VIEW odd AS SELECT id, pg_sleep(0.01)::text AS note FROM generate_series(1, 100000) AS id")
    lab = make_lab(HEAD + "      - {name: note, logicalType: string}\n")
    found: list[tuple[str, str | None, str | None]] = []
    thread = threading.Thread(target=lambda: found.append(load(lab)))
    thread.start()
    stop = (
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event = 'PgSleep'"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(2000):
            if connection.execute(stop).fetchall():
                break
            thread.join(0.01)
    thread.join(60)
    assert found == [("failed", "source_unavailable", "Reading odd of erp was cancelled in the database.")]
