"""What ends the reading of a replicated table, and how it goes on."""

from __future__ import annotations

import threading

import pytest

from ingest.errors import SourceError
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.replication.source import open_origin
from runtime.postgres.database import make_engine
from tests.support.command_line import run
from tests.support.source_server import MakeShop, Shop, make_shop, source_server

__all__ = ["make_shop", "source_server"]


@pytest.fixture
def shop(make_shop: MakeShop) -> Shop:
    """A product whose table has three rows, which are loaded."""
    made = make_shop()
    made.run("INSERT INTO orders VALUES (1, 10), (2, 20), (3, 30)")
    made.create()
    made.load_all()
    return made


def slot_of(shop: Shop) -> str:
    """The name of its slot."""
    return str(shop.lab.dataset(shop.address).input.source.slot)  # type: ignore[union-attr]


def assert_gap(shop: Shop, says: str) -> None:
    """A load fails with the error of gaps, and moves nothing; a worker would try it."""
    before = (shop.position(), shop.records())
    assert shop.waits()
    report = shop.load()
    assert (report.status, report.error_code) == ("failed", "stream_gap")
    assert says in (report.error or "")
    assert (shop.position(), shop.records()) == before


def test_without_a_slot_nothing_is_made_silently(make_shop: MakeShop) -> None:
    shop = make_shop()
    assert_gap(shop, "does not exist. `decant replication create` makes it")
    assert shop.ask("SELECT count(*) FROM pg_publication") == 0
    with pytest.raises(SourceError, match="does not exist"):
        shop.drop()


@pytest.mark.slow
def test_a_slot_that_somebody_dropped_is_made_anew_and_the_table_with_it(shop: Shop) -> None:
    shop.run(f"SELECT pg_drop_replication_slot('{slot_of(shop)}')")
    shop.run("DELETE FROM orders WHERE id = 1", "UPDATE orders SET amount = 21 WHERE id = 2")
    assert_gap(shop, "does not exist")
    assert shop.create().made == ("slot",)
    report = shop.load_all()[0]
    # The row that was deleted while nobody looked is gone; the one that is as it was stays as it is.
    assert shop.records() == [(2, 21), (3, 30)]
    assert (report.outcome.inserted, report.outcome.updated, report.outcome.deleted) == (0, 1, 1)


@pytest.mark.slow
def test_a_slot_that_somebody_else_read_or_made_anew_is_a_gap(shop: Shop) -> None:
    shop.run("INSERT INTO orders VALUES (4, 40)")
    shop.run(f"SELECT pg_replication_slot_advance('{slot_of(shop)}', pg_current_wal_lsn())")
    assert_gap(shop, "somebody else read it")
    shop.drop()
    shop.create()
    shop.load_all()
    assert [key for key, _ in shop.records()] == [1, 2, 3, 4]


@pytest.mark.slow
def test_more_log_than_the_contract_keeps_is_a_gap(make_shop: MakeShop) -> None:
    shop = make_shop(keep=0.01)
    shop.create()
    shop.load_all()
    shop.run("CREATE TABLE waste (text text)")
    # A table of its own fills the log: 12 MB of it are more than 0.01 GB, which the load that follows reads past.
    shop.run("INSERT INTO waste SELECT repeat(md5(n::text), 60) FROM generate_series(1, 7000) AS n")
    shop.run("INSERT INTO orders VALUES (1, 1)")
    assert_gap(shop, "GB of log, more than keepGb 0.01")
    shop.drop()
    shop.create()
    shop.load_all()
    assert shop.records() == [(1, 1)]


def test_a_log_that_only_others_fill_moves_the_slot(make_shop: MakeShop) -> None:
    shop = make_shop(keep=1)
    shop.create()
    shop.load_all()
    shop.run("CREATE TABLE waste (text text)", "INSERT INTO waste VALUES ('little')")
    assert not shop.waits()
    shop.run("INSERT INTO waste SELECT repeat(md5(n::text), 60) FROM generate_series(1, 10000) AS n")
    before = shop.position()
    assert shop.waits()
    assert shop.load().status == "unchanged"
    assert shop.position() != before
    assert not shop.waits()


@pytest.mark.slow
def test_a_truncated_table_is_read_anew_by_hand(shop: Shop) -> None:
    shop.run("TRUNCATE orders", "INSERT INTO orders VALUES (7, 70)")
    assert_gap(shop, "public.orders was truncated at")
    shop.drop()
    shop.create()
    shop.load_all()
    assert shop.records() == [(7, 70)]


@pytest.mark.slow
def test_columns_come_go_and_change_their_types(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.create()
    shop.load_all()
    shop.run("ALTER TABLE orders ADD extra int", "INSERT INTO orders VALUES (1, 10, 5)")
    assert shop.load().outcome.accepted == 1
    shop.run("ALTER TABLE orders REPLICA IDENTITY FULL", "ALTER TABLE orders ALTER amount TYPE text")
    shop.run("INSERT INTO orders VALUES (2, '20'), (3, 'thirty')")
    report = shop.load()
    assert (report.outcome.accepted, report.outcome.rejected) == (1, 1)
    assert shop.records() == [(1, 10), (2, 20)]
    shop.run("ALTER TABLE orders DROP amount", "INSERT INTO orders VALUES (4)")
    report = shop.load()
    assert (report.status, report.error_code) == ("failed", "missing_columns")
    assert "no column amount" in (report.error or "")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("ALTER TABLE orders REPLICA IDENTITY NOTHING", "do not say anything"),
        ("ALTER TABLE orders DROP CONSTRAINT orders_pkey", "do not say anything"),
        ("DROP TABLE orders", "does not exist"),
        ("CREATE TABLE other (id int); CREATE PUBLICATION decant FOR TABLE other", "does not have the table"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_followed_is_refused(make_shop: MakeShop, statement: str, says: str) -> None:
    shop = make_shop()
    shop.run(*statement.split("; "))
    with pytest.raises(SourceError, match=says):
        shop.create()
    assert shop.ask("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0


@pytest.mark.slow
def test_a_login_that_may_only_replicate_and_read_follows_what_the_owner_made(make_shop: MakeShop) -> None:
    shop = make_shop(user="reader")
    shop.run("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN REPLICATION", "INSERT INTO orders VALUES (1, 1)")
    with pytest.raises(SourceError, match="permission denied"):
        shop.create()
    shop.run("CREATE PUBLICATION decant FOR TABLE orders")
    shop.run(f"SELECT pg_create_logical_replication_slot('{slot_of(shop)}', 'pgoutput')")
    assert "permission denied for table orders" in (shop.load().error or "")
    shop.run("GRANT SELECT ON orders TO reader", "INSERT INTO orders VALUES (2, 2)")
    shop.load_all()
    assert shop.records() == [(1, 1), (2, 2)]
    shop.run("REVOKE SELECT ON orders FROM reader", "ALTER ROLE reader NOREPLICATION", "DELETE FROM orders")
    report = shop.load()
    assert (report.status, report.error_code) == ("failed", "source_unreadable")
    assert "replication slots" in (report.error or "")
    shop.run("DROP ROLE reader")


def test_the_own_database_of_decant_is_never_followed(make_shop: MakeShop) -> None:
    shop = make_shop()
    loader, dataset = shop.lab.loader(), shop.lab.dataset(shop.address)
    context = InputContext(dataset, loader.settings, loader.tables, make_engine(shop.url), 0)
    with (
        pytest.raises(SourceError, match="is Decant's own, which contracts must not read"),
        open_origin(context),
    ):
        raise AssertionError("it was opened")


@pytest.mark.slow
def test_the_commands_are_on_record_and_say_what_they_did(make_shop: MakeShop) -> None:
    shop = make_shop()
    given = {"DECANT_INGEST_DATABASE_URL": shop.lab.urls.ingest}
    made = run(shop.lab, "replication", "create", "shop.orders", **given)
    assert made.stdout.startswith(f"shop@1.orders: made publication and slot; {slot_of(shop)} begins at "), (
        made.stderr
    )
    refused = run(shop.lab, "replication", "drop", "shop.orders", **given)
    assert (refused.returncode, "add --yes" in refused.stderr) == (1, True)
    shop.run("INSERT INTO orders VALUES (1, 1)")
    assert run(shop.lab, "worker", "--once", **given).returncode == 0
    assert shop.records() == [(1, 1)]
    shop.load_all()
    shop.run("INSERT INTO orders VALUES (2, 1), (3, 1)")
    assert "2 changes of public.orders of erp waiting" in run(shop.lab, "status", **given).stdout
    dropped = run(shop.lab, "replication", "drop", "shop.orders", "--yes", **given)
    assert dropped.stdout == f"shop@1.orders: dropped the slot {slot_of(shop)}\n"
    assert "does not exist" in run(shop.lab, "status", **given).stdout
    entries = shop.lab.rows("SELECT operation, facts ->> 'slot' FROM decant.audit_log ORDER BY id")
    assert entries == [("replication create", slot_of(shop)), ("replication drop", slot_of(shop))]
    moved = run(shop.lab, "seek", "shop.orders", "latest", **given)
    assert "follows a replication slot" in moved.stderr
    assert shop.url not in made.stdout + dropped.stdout + moved.stderr


def test_a_source_whose_texts_are_any_bytes_is_refused(make_shop: MakeShop) -> None:
    shop = make_shop(encoding="SQL_ASCII")
    with pytest.raises(SourceError, match="has the encoding SQL_ASCII"):
        shop.create()


@pytest.mark.slow
def test_a_partitioned_table_is_followed_as_one(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.run("DROP TABLE orders", "CREATE TABLE orders (id int PRIMARY KEY, amount int) PARTITION BY RANGE (id)")
    shop.run("CREATE TABLE small PARTITION OF orders FOR VALUES FROM (0) TO (10)")
    shop.run(
        "CREATE TABLE large PARTITION OF orders FOR VALUES FROM (10) TO (99)", "INSERT INTO orders VALUES (1, 1)"
    )
    # As autovacuum does: it passes over the table itself.
    shop.run("INSERT INTO orders SELECT n, n FROM generate_series(2, 59) AS n", "ANALYZE small", "ANALYZE large")
    shop.create()
    assert shop.waits()
    assert shop.lab.rows("SELECT records FROM decant.stream_lags") == [(59,)]
    shop.run("DELETE FROM orders WHERE id > 1")
    shop.load_all()
    shop.run("INSERT INTO orders VALUES (20, 2)", "UPDATE orders SET id = 30 WHERE id = 1")
    shop.load_all()
    assert shop.records() == [(20, 2), (30, 1)]


@pytest.mark.slow
def test_a_slot_that_another_session_reads_is_waited_for(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.create()
    shop.load_all()
    shop.run("INSERT INTO orders SELECT n, n FROM generate_series(1, 20000) AS n")
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            shop.waits()

    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    try:
        reports = shop.load_all()
        shop.run("INSERT INTO orders VALUES (0, 0)")
        reports += shop.load_all()
    finally:
        over.set()
        for thread in looking:
            thread.join()
    assert {report.status for report in reports} <= {"published", "unchanged"}
    assert len(shop.records()) == 20_001
