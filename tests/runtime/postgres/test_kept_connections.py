"""Connections that an engine keeps: each is as good as a new one to whoever gets it next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from runtime.postgres.database import DatabaseUrls, keep_engine, make_engine

LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


@pytest.fixture
def engine(urls: DatabaseUrls) -> Iterator[sa.Engine]:
    with keep_engine(urls.owner) as engine:
        yield engine


def ask(engine: sa.Engine, query: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar_one()


def test_a_kept_connection_has_nothing_of_the_session_before(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        for statement in (
            "CREATE TEMPORARY TABLE kept AS SELECT 1",
            "SELECT pg_advisory_lock(1)",
            "SET SESSION TimeZone = 'Asia/Tokyo'",
            "SET SESSION search_path = pg_catalog",
        ):
            connection.exec_driver_sql(statement)
        connection.commit()
    assert ask(engine, "SELECT pg_backend_pid()") == backend
    assert ask(engine, "SELECT to_regclass('pg_temp.kept') IS NULL") is True
    assert ask(engine, LOCKS) == 0
    assert ask(engine, "SHOW TimeZone") == "UTC"
    assert ask(engine, "SHOW search_path") == "public"


def test_a_kept_connection_begins_with_a_transaction_of_its_own(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (number int)")
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")
    assert ask(engine, "SELECT count(*) FROM numbers") == 0


def test_a_prepared_statement_is_prepared_anew(engine: sa.Engine) -> None:
    for _ in range(3):
        with engine.connect() as connection:
            for number in range(12):  # psycopg prepares what it is asked often
                found = connection.execute(sa.text("SELECT CAST(:number AS int) + 1"), {"number": number})
                assert found.scalar_one() == number + 1


def test_a_connection_that_died_while_it_was_kept_is_replaced(engine: sa.Engine, urls: DatabaseUrls) -> None:
    backend = ask(engine, "SELECT pg_backend_pid()")
    other = make_engine(urls.owner)
    assert ask(other, f"SELECT pg_terminate_backend({backend}, 5000)") is True
    assert ask(engine, "SELECT pg_backend_pid()") != backend


def test_a_connection_that_died_in_use_is_replaced(engine: sa.Engine, urls: DatabaseUrls) -> None:
    other = make_engine(urls.owner)
    connection = engine.connect()
    backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    assert ask(other, f"SELECT pg_terminate_backend({backend}, 5000)") is True
    with pytest.raises(sa.exc.OperationalError):
        connection.exec_driver_sql("SELECT 1")
    connection.close()
    assert ask(engine, "SELECT pg_backend_pid()") != backend


def test_nobody_waits_for_a_connection_that_another_one_uses(engine: sa.Engine) -> None:
    used = [engine.connect() for _ in range(12)]
    try:
        assert len({each.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() for each in used}) == 12
    finally:
        for each in used:
            each.close()


def test_kept_connections_are_closed_whatever_ends_their_use(urls: DatabaseUrls) -> None:
    with pytest.raises(RuntimeError), keep_engine(urls.owner) as engine:
        use_and_fail(engine)
    assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]


def use_and_fail(engine: sa.Engine) -> None:
    ask(engine, "SELECT 1")
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    raise RuntimeError


def test_statements_are_prepared_anew_after_transactions_that_were_committed(engine: sa.Engine) -> None:
    for times in (1, 10, 10):
        with engine.begin() as connection:
            for number in range(times):
                found = connection.execute(sa.text("SELECT CAST(:number AS int) + 2"), {"number": number})
                assert found.scalar_one() == number + 2
