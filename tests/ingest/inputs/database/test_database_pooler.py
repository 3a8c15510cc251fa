"""A source behind a pooler: whoever has the session next finds it as it was."""

from __future__ import annotations

import psycopg
import pytest

from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Databases
from tests.support.lab import Lab
from tests.support.source_database import CONTRACT, load
from tests.support.tools import free_database, run_pgbouncer

SETTINGS = ("default_transaction_read_only", "statement_timeout", "timezone", "intervalstyle", "bytea_output")


def test_a_load_leaves_nothing_in_a_pooled_session(
    server: EmbeddedPostgres,
    databases: Databases,
    make_lab: type[Lab],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = databases.create()
    with run_pgbouncer(server, pool_size=1) as bouncer:
        url = bouncer.url(database=name)
        monkeypatch.setenv("ERP_URL", url)

        def look() -> list[object]:
            with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
                return [other.execute(f"SHOW {setting}".encode()).fetchone() for setting in SETTINGS]

        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute("CREATE TABLE orders (id int, note text, amount numeric, updated timestamptz)")
            connection.execute("INSERT INTO orders VALUES (1, 'a', 1, '2026-03-01 10:00Z'), (2, 'b', 2, null)")
        before = look()
        lab = make_lab(CONTRACT.format(words="table: orders, mode: upsert, incremental: {column: updated}"))  # type: ignore[operator]
        for _ in range(3):
            assert load(lab).status in {"published", "unchanged"}
        assert lab.rows("SELECT count(*) FROM shop_v1.orders") == [(2,)]
        assert look() == before
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            other.execute("UPDATE orders SET note = 'mine'")
        free_database(bouncer, server, name)
    databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')
