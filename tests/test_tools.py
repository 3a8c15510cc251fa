"""The programs that only tests run answer, and are what they claim to be."""

from __future__ import annotations

import httpx
import psycopg
import sqlalchemy as sa

from catalog.embedded import EmbeddedPostgres
from tests.tools import Bouncer, MariaDB, run_nginx


def test_pgbouncer_gives_one_client_several_backends(pgbouncer: Bouncer, server: EmbeddedPostgres) -> None:
    with psycopg.connect(pgbouncer.url(), autocommit=True) as one, psycopg.connect(pgbouncer.url()) as other:
        first = one.execute("SELECT pg_backend_pid()").fetchone()
        # The other's transaction holds the backend that the first one had.
        assert other.execute("SELECT pg_backend_pid()").fetchone() == first
        assert one.execute("SELECT pg_backend_pid()").fetchone() != first


def test_nginx_answers() -> None:
    with run_nginx(lambda port, folder: f"server {{ listen 127.0.0.1:{port}; return 200 'here'; }}") as nginx:
        assert httpx.get(f"http://127.0.0.1:{nginx.port}/").text == "here"


def test_mariadb_keeps_rows(mariadb: MariaDB) -> None:
    engine = sa.create_engine(mariadb.url())
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE one (name text)"))
        connection.execute(sa.text("INSERT INTO one VALUES ('Žižka')"))
        assert connection.execute(sa.text("SELECT name FROM one")).scalar_one() == "Žižka"
        assert "MariaDB" in connection.execute(sa.text("SELECT version()")).scalar_one()
        connection.execute(sa.text("DROP TABLE one"))
    engine.dispose()
