"""No message of a driver brings a value of a record into the ledger."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import psycopg
import pytest

from runtime.postgres.driver_messages import describe_duckdb, describe_postgres
from tests.support.lab import PEOPLE, Lab

SECRET = 'Ann\'s "secret"'
LITERAL = "Ann''s \"secret\""
SAID = [
    (f"SELECT '{LITERAL}'::integer", 'invalid input syntax for type integer: "…"'),
    (f"SELECT '{LITERAL}'::date", 'invalid input syntax for type date: "…"'),
    (f"SELECT to_number('{LITERAL}', '999')", 'invalid input syntax for type numeric: "…"'),
    ("SELECT '99999'::smallint", 'value "…" is out of range for type smallint'),
    ("SELECT 1 / 0", "division by zero"),
    (f"SELECT '{{{LITERAL}'::json", "invalid input syntax for type json"),
    ("SELECT nothing FROM pg_class", 'column "nothing" does not exist'),
]


@pytest.mark.parametrize(("query", "said"), SAID)
def test_postgres_names_columns_and_no_values(lab: Lab, query: str, said: str) -> None:
    with psycopg.connect(lab.urls.read) as connection, pytest.raises(psycopg.Error) as raised:
        connection.execute(query.encode())
    assert describe_postgres(raised.value) == said


def test_what_postgres_says_of_rows_is_left_out(lab: Lab) -> None:
    with psycopg.connect(lab.urls.owner) as connection:
        connection.execute("CREATE TEMP TABLE t (name text PRIMARY KEY)")
        connection.execute("INSERT INTO t VALUES ('Ann')")
        with pytest.raises(psycopg.errors.UniqueViolation) as raised:
            connection.execute("INSERT INTO t VALUES ('Ann')")
    assert describe_postgres(raised.value) == "UniqueViolation, 23505"
    assert describe_postgres(psycopg.OperationalError(SECRET)) == "OperationalError"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (f"SELECT '{LITERAL}'::INTEGER", "Conversion Error"),
        ("SELECT 300::BIGINT::TINYINT", "Conversion Error"),
        (f"SELECT error('{LITERAL}')", "Invalid Input Error"),
        ("SELECT nothing", 'Binder Error: Referenced column "nothing"'),
    ],
)
def test_duckdb_names_columns_and_no_values(query: str, said: str) -> None:
    with duckdb.connect() as connection, pytest.raises(duckdb.Error) as raised:
        connection.execute(query).fetchall()
    described = describe_duckdb(raised.value)
    assert "secret" not in described
    assert "300" not in described
    assert described.startswith(said)


GATE = """    quality:
      - {type: sql, query: "SELECT count(*) FROM people WHERE name::integer > 1", mustBe: 0, name: ages}
"""
DERIVED = """  - name: numbers
    customProperties:
      - {property: input, value: {mode: snapshot, query: "select id, name::integer as number from people"}}
    properties:
      - {name: id, logicalType: integer, primaryKey: true}
      - {name: number, logicalType: integer}
"""
BAD = "id,name,age,born\n1,Ann,30,\n"
BROKEN = 'invalid input syntax for type integer: "…"'


def test_a_rule_that_meets_a_bad_value_does_not_repeat_it(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("roles:\n", f"{GATE}roles:\n"))
    assert lab.ingest("people.people", BAD).status == "withheld"
    assert lab.rows("SELECT error FROM decant.quality_results WHERE error IS NOT NULL") == [(BROKEN,)]


def test_a_query_that_meets_a_bad_value_does_not_repeat_it(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(PEOPLE.replace("roles:\n", f"{DERIVED}roles:\n"))
    assert lab.ingest("people.people", BAD).status == "published"
    report = lab.ingest("people.numbers")
    assert (report.status, report.error) == ("failed", f"The query of people@1.numbers failed: {BROKEN}.")
