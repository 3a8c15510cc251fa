"""Tables and queries of other databases: a second Postgres one, and SQLite through SQLAlchemy."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.inputs.permits import Permits
from catalog.model.sources import DatabaseSource
from ingest.inputs.database.engine import make_url
from ingest.inputs.database.rows import write_rows
from ingest.inputs.variables import VariableExpander
from ingest.loading.load_report import LoadReport
from runtime.settings.settings import load_settings
from tests.support.lab import Lab
from tests.support.source_database import Erp, landed, load

CANARY = "s3cret-canary-7f"


def fails(report: LoadReport, words: str) -> bool:
    """Whether the load failed with these words, and none that tell too much."""
    assert report.status == "failed", report
    assert report.error
    assert words in report.error, report.error
    assert CANARY not in report.error
    return True


@pytest.mark.slow
def test_a_table_comes_in_the_order_of_its_key_with_all_its_digits(erp: Erp, shop: Callable[[str], Lab]) -> None:
    lab = shop("table: orders")
    assert load(lab).status == "published"
    assert landed(lab) == [
        {"id": "1", "note": "a", "amount": "100000000000000000000", "updated": "2026-01-01T00:00:00+00:00"},
        {"id": "2", "note": "", "amount": None, "updated": None},
        {"id": "3", "note": "c", "amount": "0.1", "updated": "2026-03-01T08:00:00+00:00"},
    ]
    assert lab.rows("SELECT note, amount FROM shop_v1.orders ORDER BY id") == [
        ("a", Decimal(10) ** 20),
        ("", None),
        ("c", Decimal("0.1")),
    ]
    erp.run("UPDATE orders SET id = id")  # moves the rows, and changes nothing
    assert load(lab).status == "unchanged"
    erp.run("DELETE FROM orders WHERE id = 2")
    assert load(lab).status == "published"
    assert lab.rows("SELECT id FROM shop_v1.orders ORDER BY id") == [(1,), (3,)]


def test_a_column_may_be_called_like_a_row_of_ours(erp: Erp, shop: Callable[[str], Lab]) -> None:
    erp.run("ALTER TABLE orders ADD COLUMN source_row text DEFAULT 'x', ADD COLUMN _row int DEFAULT 7")
    lab = shop("table: orders")
    assert load(lab).status == "published"
    first = landed(lab)[0]
    assert (first["id"], first["note"], first["source_row"], first["_row"]) == ("1", "a", "x", "7")


@pytest.mark.sampled
@pytest.mark.parametrize(
    "sql",
    [
        "select * from orders where note = ''c'' or note like ''%'' or note = '':x'' -- all of them",
        "with o as (select * from orders) select id::int, note, amount, updated from o",
        "select id, note || '':b \\: %(x)s'' as note, amount, updated from orders order by updated",
    ],
)
def test_a_query_is_run_as_it_is_written(erp: Erp, shop: Callable[[str], Lab], sql: str) -> None:
    lab = shop(f"sql: '{sql}'")
    assert load(lab).status == "published"
    expected = erp.rows(sql.replace("''", "'"))
    assert [row["note"] for row in landed(lab)] == [row[1] for row in sorted(expected)]


def test_values_that_no_python_object_holds_come_as_the_database_writes_them(
    erp: Erp, shop: Callable[[str], Lab]
) -> None:
    erp.run(
        "CREATE TABLE odd (id int, inf timestamptz, old timestamp, nan numeric, big numeric, float float8, bin bytea,"
        " doc jsonb, raw json, list int[], span interval, word text,"
        " note text, amount numeric, updated timestamptz);"
        "INSERT INTO odd VALUES (1, 'infinity', '0044-03-15 BC', 'NaN', 1234567890123456789012345678901234567890.5,"
        " 0.1, '\\x00ff', '{\"a\": [1.10]}', E'{\\n\"b\":\\t1}', '{1,null}', '1 day 2 hours', E'a\\nb\\\\\"')"
    )
    lab = shop("table: odd")
    report = load(lab)
    assert report.outcome
    assert (report.outcome.raw, report.outcome.accepted) == (1, 1)
    assert [{name: value for name, value in row.items() if value is not None} for row in landed(lab)] == [
        {
            "id": "1",
            "inf": "infinity",
            "old": "0044-03-15T00:00:00 BC",
            "nan": "NaN",
            "big": "1234567890123456789012345678901234567890.5",
            "float": "0.1",
            "bin": "\\x00ff",
            "doc": {"a": ["1.10"]},
            "raw": {"b": "1"},
            "list": ["1", None],
            "span": "P1DT2H",
            "word": 'a\nb\\"',
        }
    ]


def test_only_rows_from_the_highest_published_mark_on_are_read(erp: Erp, shop: Callable[[str], Lab]) -> None:
    lab = shop("table: orders, mode: upsert, incremental: {column: updated, lag: 1h, start: '2026-02-01T00:00:00Z'}")
    assert load(lab).status == "published"
    assert [row["id"] for row in landed(lab)] == ["2", "3"]  # without a mark, nothing tells whether a row is new
    erp.run("INSERT INTO orders VALUES (4, 'd', 4, '2026-03-01 07:00Z'), (5, 'e', 5, '2026-03-01 06:59Z')")
    assert load(lab).status == "published"
    assert [row["id"] for row in landed(lab)] == ["2", "3", "4"]
    erp.run("DELETE FROM orders")
    assert load(lab).status == "unchanged"
    assert lab.rows("SELECT id FROM shop_v1.orders ORDER BY id") == [(2,), (3,), (4,)]
    ((kept,),) = lab.rows("SELECT position FROM decant.input_states")
    mark = {"type": "text", "raw": "2026-03-01 08:00:00+00", "value": "2026-03-01T08:00:00Z", "published": True}
    assert kept == {
        "property": "updated",
        "mark": "2026-03-01T08:00:00Z",
        "source": "updated of orders of erp",
        "marks": [mark],
    }


@pytest.mark.slow
@pytest.mark.parametrize("column", ["id", "amount"])
def test_a_mark_may_be_a_number(erp: Erp, shop: Callable[[str], Lab], column: str) -> None:
    erp.run("UPDATE orders SET amount = id + 0.5")
    lab = shop(f"sql: select * from orders, mode: append, incremental: {{column: {column}, lag: 1}}")
    assert load(lab).status == "published"
    erp.run("INSERT INTO orders VALUES (4, 'd', 4.5, null)")
    erp.run("UPDATE orders SET note = 'changed'")
    assert load(lab).status == "published"
    assert [row["id"] for row in landed(lab)] == ["2", "3", "4"]
    assert lab.rows("SELECT note FROM shop_v1.orders ORDER BY id") == [("a",), ("",), ("c",), ("changed",)]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("table: nothing", 'relation "nothing" does not exist'),
        ("sql: select nope from orders", 'column "nope" does not exist'),
        ("sql: select id / 0 as id from orders", "the database rejects the query"),
        ("sql: 'select id, note, note from orders'", "returns two columns named 'note'"),
        ("sql: 'select id, pg_sleep(5) from orders', timeout: 1", "took more than 1 seconds"),
        ("sql: 'select id, lo_create(0) from orders'", "the database rejects the query"),
    ],
)
def test_what_the_database_refuses_fails_the_load(
    erp: Erp, shop: Callable[[str], Lab], words: str, says: str
) -> None:
    lab = shop(words)
    assert fails(load(lab), says)
    assert lab.rows("SELECT id FROM shop_v1.orders") == []


def test_nothing_can_be_written_where_it_is_read(erp: Erp, shop: Callable[[str], Lab]) -> None:
    erp.run("CREATE FUNCTION trick() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; RETURN 1; END $$")
    report = load(shop("sql: select trick() as id"))
    assert fails(report, "the database rejects the query")
    assert erp.rows("SELECT count(*) FROM orders") == [(3,)]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("url", "says", "code"),
    [
        (
            f"postgresql://me:{CANARY}@127.0.0.1:1/shop",
            "does not respond, or closed the connection",
            "source_unavailable",
        ),
        (
            f"postgresql://me:{CANARY}@no-such-host.invalid/shop",
            "does not respond, or closed the connection",
            "source_unavailable",
        ),
        (f"oracle://me:{CANARY}@127.0.0.1/shop", "needs a driver that is not installed", "source_unreadable"),
        (f"nosuch://me:{CANARY}@127.0.0.1/shop", "needs a driver that is not installed", "source_unreadable"),
        (f"{CANARY}", "has a URL that SQLAlchemy does not support", "source_unreadable"),
        (
            f"postgresql://me:{CANARY}@127.0.0.1:port/shop",
            "has a URL that SQLAlchemy does not support",
            "source_unreadable",
        ),
        (f"sqlite:////{CANARY}/none.db", "does not respond, or closed the connection", "source_unavailable"),
        ("", "ERP_URL is not set", "source_unreadable"),
    ],
)
def test_a_database_that_cannot_be_reached_gives_nothing_away(
    shop: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch, url: str, says: str, code: str
) -> None:
    monkeypatch.setenv("ERP_URL", url)
    lab = shop("table: orders")
    report = load(lab)
    assert fails(report, says)
    assert report.error_code == code
    assert CANARY not in str(lab.rows("SELECT * FROM decant.loads"))


def test_the_parts_of_an_address_are_put_together_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "p@ss:/w?rd")
    parts = DatabaseSource("erp", "mysql+pymysql", host="db", port="3306", database="shop", user="me")
    url = make_url(replace(parts, password="${DB_PASSWORD}"), VariableExpander(Permits(load_settings(), "shop")))
    assert (url.password, url.host, url.port, url.database) == ("p@ss:/w?rd", "db", 3306, "shop")
    assert "p@ss" not in repr(url)
    assert (
        make_url(
            replace(parts, url="postgres://db/shop"), VariableExpander(Permits(load_settings(), "shop"))
        ).get_driver_name()
        == "psycopg"
    )


def test_a_login_that_is_refused_is_not_tried_again(
    erp: Erp, shop: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERP_URL", erp.url.replace("/test_", "/none_"))
    report = load(shop("table: orders"))
    assert fails(report, "rejects the login: check user, password and database")
    assert report.error_code == "source_unreadable"


@pytest.mark.slow
def test_sqlite_is_read_through_sqlalchemy(
    shop: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "shop ä?.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, note TEXT, amount NUMERIC, updated TEXT)")
        rows = [(2, "", 0.5, "2026-01-02 00:00:00"), (1, None, 9007199254740993, "2026-01-01 00:00:00")]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    connection.close()
    monkeypatch.setenv("ERP_URL", f"sqlite:///{str(path).replace('?', '%3F')}")
    lab = shop("table: orders, mode: upsert, incremental: {column: updated}")
    assert load(lab).status == "published"
    assert landed(lab) == [
        {"id": "1", "note": None, "amount": "9007199254740993", "updated": "2026-01-01 00:00:00"},
        {"id": "2", "note": "", "amount": "0.5", "updated": "2026-01-02 00:00:00"},
    ]
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO orders VALUES (3, 'new', 3, '2026-01-03 00:00:00')")
    connection.close()
    assert load(lab).status == "published"
    assert [row["id"] for row in landed(lab)] == ["2", "3"]


def test_a_file_that_is_no_database_is_refused(
    shop: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "no.db").write_text("root:x:0:0\n" * 100)
    monkeypatch.setenv("ERP_URL", f"sqlite:///{tmp_path}/no.db")
    assert fails(load(shop("table: orders")), "Reading orders of erp failed: file is not a database")


@pytest.mark.slow
def test_a_large_table_comes_in_blocks(erp: Erp, shop: Callable[[str], Lab]) -> None:
    erp.run("INSERT INTO orders SELECT n, 'n' || n, n, now() FROM generate_series(10, 20009) AS n")
    outcome = load(shop("table: orders")).outcome
    assert outcome
    assert (outcome.raw, outcome.accepted, outcome.rejected) == (20_003, 20_003, 0)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        ("", '""'),
        (True, "true"),
        (2**70, str(2**70)),
        (0.1, "0.1"),
        (float("nan"), '"nan"'),
        (float("-inf"), '"-inf"'),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), '"NaN"'),
        (datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC), '"2026-01-02T03:04:05.000600+00:00"'),
        (datetime(2026, 1, 2), '"2026-01-02T00:00:00"'),  # noqa: DTZ001 - as drivers give it
        (date(2026, 1, 2), '"2026-01-02"'),
        (time(1, 2, 3), '"01:02:03"'),
        (timedelta(days=1, seconds=1.5), '"PT86401.5S"'),
        (timedelta(0), '"PT0S"'),
        (b"\x00\xff", '"\\\\x00ff"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ({"a": [Decimal("1.10"), b"\x01"]}, '{"a":[1.10,"\\\\x01"]}'),
        ("a\nb\u2028", '"a\\nb\u2028"'),
    ],
)
def test_values_of_other_databases_are_written_without_loss(value: Any, written: str) -> None:
    assert write_rows(["a"], [[value]]).decode() == f'{{"a":{written}}}\n'


@given(st.lists(st.tuples(st.text(), st.decimals(allow_nan=False, allow_infinity=False), st.integers()), max_size=5))
def test_every_row_is_one_line_that_reads_as_it_was(rows: list[tuple[str, Decimal, int]]) -> None:
    lines = write_rows(["text", "decimal", "integer"], rows).decode().split("\n")
    assert lines.pop() == ""
    read = [json.loads(line, parse_float=Decimal) for line in lines]
    assert [(row["text"], Decimal(row["decimal"]), row["integer"]) for row in read] == rows
