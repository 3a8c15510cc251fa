"""A table of Postgres and its changes, by logical replication: each change once, in the order of the source."""

from __future__ import annotations

import threading

import psycopg
import pytest

from ingest.errors import SourceError
from ingest.inputs.replication.changes import PART_BYTES, read_lsn
from tests.support.source_server import MakeShop, Shop, make_shop, source_server

__all__ = ["make_shop", "source_server"]
FULL = "ALTER TABLE orders REPLICA IDENTITY FULL"


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    """A product whose table has three rows, which are loaded."""
    made = make_shop()
    made.run("INSERT INTO orders VALUES (1, 10), (2, 20), (3, 30)")
    made.create()
    assert made.load_all()[0].status == "published"
    return made


def test_rows_are_read_once_and_then_as_they_change(shop: Shop) -> None:
    assert shop.records() == [(1, 10), (2, 20), (3, 30)]
    assert not shop.waits()
    shop.run(
        "INSERT INTO orders VALUES (4, 40)", "UPDATE orders SET amount = 21 WHERE id = 2",
        "DELETE FROM orders WHERE id = 3", "UPDATE orders SET id = 5 WHERE id = 1",
    )  # fmt: skip
    assert shop.waits()
    (report,) = shop.load_all()
    assert (report.status, report.outcome.raw) == ("published", 5)
    assert shop.records() == [(2, 21), (4, 40), (5, 10)]
    assert not shop.waits()


@pytest.mark.slow
def test_the_slot_is_advanced_to_what_is_published_and_no_further(shop: Shop) -> None:
    slot = shop.lab.dataset(shop.address).input.source.slot  # type: ignore[union-attr]
    confirmed = f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{slot}'"
    shop.run("INSERT INTO orders VALUES (4, 40)")
    shop.load()
    published = read_lsn(shop.position() or "")
    assert read_lsn(shop.ask(confirmed)) < published
    shop.load()
    assert published <= read_lsn(shop.ask(confirmed)) <= read_lsn(shop.position() or "")


@pytest.mark.slow
def test_a_rejected_row_is_found_by_its_transaction_and_its_line(make_shop: MakeShop) -> None:
    shop = make_shop("id int PRIMARY KEY, amount text")
    shop.run(FULL)
    shop.create()
    shop.load()
    shop.run("INSERT INTO orders VALUES (1, '10'), (2, 'many')")
    report = shop.load()
    assert (report.outcome.accepted, report.outcome.rejected) == (1, 1)
    (file, line, raw, _) = shop.rejects()[0]
    first, _, end = file.removeprefix("public.orders@").partition("-")
    assert read_lsn(first) < read_lsn(end) <= read_lsn(shop.position() or "")
    assert (line, raw) == (2, '{"id":2,"amount":"many"}')


@pytest.mark.slow
def test_changes_during_the_snapshot_are_neither_lost_nor_left_behind(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.run("INSERT INTO orders SELECT n, 0 FROM generate_series(1, 500) AS n")
    shop.create()
    over = threading.Event()
    written: list[int] = []

    def write() -> None:
        with psycopg.connect(shop.url, autocommit=True) as connection:
            while not over.is_set():
                number = len(written) + 1
                connection.execute("UPDATE orders SET amount = %s WHERE id = %s", [number, number % 500])
                connection.execute("DELETE FROM orders WHERE id = %s", [number * 7 % 500])
                connection.execute("INSERT INTO orders VALUES (%s, %s)", [500 + number, number])
                written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(written) < 20:
            assert writer.is_alive()
        shop.load()
        seen = len(written)
        while len(written) < seen + 20:
            assert writer.is_alive()
    finally:
        over.set()
        writer.join()
    shop.load_all()
    with psycopg.connect(shop.url) as connection:
        expected = connection.execute("SELECT id, amount FROM orders ORDER BY id").fetchall()
    assert shop.records() == expected
    raw = shop.lab.rows("SELECT sum(raw)::int, sum(accepted + rejected + duplicates)::int FROM decant.loads")[0]
    assert raw[0] == raw[1]


@pytest.mark.slow
def test_a_transaction_is_never_split_however_large_it_is(make_shop: MakeShop) -> None:
    shop = make_shop(batch={"records": 10})
    shop.create()
    shop.load_all()
    shop.run("INSERT INTO orders SELECT n, n FROM generate_series(1, 5000) AS n", "INSERT INTO orders VALUES (0, 0)")
    reports = shop.load_all()
    assert [report.outcome.raw for report in reports if report.outcome.raw] == [5000, 1]
    assert len(shop.records()) == 5001


@pytest.mark.slow
def test_a_batch_ends_behind_the_transaction_that_fills_it(make_shop: MakeShop) -> None:
    shop = make_shop(batch={"bytes": 1})
    shop.create()
    shop.load_all()
    shop.run("INSERT INTO orders VALUES (1, 1), (2, 2)", "INSERT INTO orders VALUES (3, 3)")
    assert [report.outcome.raw for report in shop.load_all() if report.outcome.raw] == [2, 1]
    assert PART_BYTES > 1


@pytest.mark.slow
def test_other_tables_of_the_publication_and_rolled_back_changes_are_no_records(shop: Shop) -> None:
    shop.run("CREATE TABLE other (id int PRIMARY KEY)", "ALTER PUBLICATION decant ADD TABLE other")
    shop.run("INSERT INTO other VALUES (1)", "BEGIN; INSERT INTO orders VALUES (9, 9); ROLLBACK")
    shop.run("INSERT INTO orders VALUES (4, 40)")
    assert shop.load().outcome.raw == 1
    assert [key for key, _ in shop.records()] == [1, 2, 3, 4]


@pytest.mark.slow
def test_large_values_that_do_not_change_are_kept(make_shop: MakeShop) -> None:
    more = "      - {name: note, logicalType: string}"
    shop = make_shop("id int PRIMARY KEY, amount int, note text", more)
    with pytest.raises(SourceError, match=r"may store values of note apart .* REPLICA IDENTITY FULL"):
        shop.create()
    shop.run(FULL, "ALTER TABLE orders ALTER note SET STORAGE EXTERNAL")
    shop.create()
    shop.run("INSERT INTO orders VALUES (1, 1, repeat('abc', 5000))")
    shop.load_all()
    shop.run("UPDATE orders SET amount = 2")
    shop.load()
    assert shop.records("id, amount, length(note)") == [(1, 2, 15000)]
    # The owner takes the identity back while changes wait: those records are rejected, and say why.
    shop.run("ALTER TABLE orders REPLICA IDENTITY DEFAULT", "UPDATE orders SET amount = 3", FULL)
    assert shop.load().outcome.rejected == 1
    assert "not sent, as they did not change: note" in shop.rejects()[0][2]
    assert shop.records("id, amount, length(note)") == [(1, 2, 15000)]


@pytest.mark.slow
def test_values_are_the_same_from_the_snapshot_and_from_changes(make_shop: MakeShop) -> None:
    columns = (
        "id int PRIMARY KEY, amount int, ok boolean, at timestamptz, day date, price numeric, tags text[], doc jsonb,"
        " code char(4), share float8, bin bytea"
    )
    more = "".join(
        f"      - {{name: {name}, {kind}}}\n"
        for name, kind in {
            "ok": "logicalType: boolean", "at": "logicalType: timestamp", "day": "logicalType: date",
            "price": 'logicalType: number, physicalType: "numeric(30,10)"',
            "tags": "logicalType: array, items: {logicalType: string}", "code": "logicalType: string",
            "doc": "logicalType: object", "share": "logicalType: number", "bin": "logicalType: string",
        }.items()
    )  # fmt: skip
    shop = make_shop(columns, more)
    shop.run(FULL)
    row = (
        "true, '2026-01-31 10:00:00.5+02', '2026-02-01', 12345678901234567890.0000000001,"
        """ ARRAY['a,b', 'c"d', 'NULL', null], '{"a": [1, "x"]}', 'ab', 0.1, '\\x00ff'"""
    )
    shop.run(f"INSERT INTO orders VALUES (1, 1, {row})")
    shop.create()
    shop.load_all()
    shop.run(f"INSERT INTO orders VALUES (2, 1, {row})")
    shop.load_all()
    assert shop.rejects() == []
    names = "amount, ok, at, day, price, tags, doc, code, share, bin"
    first, second = shop.records(names)
    assert first == second
    assert (first[1], str(first[4]), first[5], first[7], first[9]) == (
        True, "12345678901234567890.0000000001", ["a,b", 'c"d', "NULL", None], "ab", "\\x00ff",
    )  # fmt: skip
