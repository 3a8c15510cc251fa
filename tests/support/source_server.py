"""A second Postgres, whose log can be decoded, and the product that a table of it feeds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from ingest.inputs.replication.slots import create_slot, drop_slot
from ingest.inputs.replication.source import KEPT
from ingest.worker.input_progress import read_progress
from ingest.worker.watch_streams import has_new_messages
from runtime.postgres.embedded_postgres import INITDB_OPTIONS, OWNER, EmbeddedPostgres
from scripts.debian_tools import Tool
from tests.support.lab import Lab
from tests.support.tools import as_server_user, free_port, give, make_folder, run_tool

SETTINGS = (
    "wal_level=logical",
    "max_replication_slots=60",
    "max_connections=40",
    "shared_buffers=64MB",
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "timezone=Europe/Rome",
)
MADE_AS = "TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
COLUMNS = "id int PRIMARY KEY, amount int"
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.0.0
status: active
servers:
  - server: erp
    type: postgresql
    host: 127.0.0.1
    port: {port}
    database: {database}
    schema: public
    customProperties: [{{property: user, value: {user}}}]
schema:
  - name: orders
    customProperties:
      - {{property: input, value: {input}}}
      - {{property: maxDeleted, value: 100}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: amount, logicalType: integer}}
{more}
"""


@dataclass(frozen=True)
class SourceServer:
    """A running Postgres with wal_level=logical."""

    port: int

    def url(self, database: str = "postgres") -> str:
        """A URL of its owner."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"


@contextmanager
def run_source(binaries: Path) -> Iterator[SourceServer]:
    """A new Postgres of these binaries on 127.0.0.1."""
    port = free_port()
    with make_folder() as folder:
        data = folder / "data"
        made = subprocess.run(
            [str(binaries / "initdb"), "-D", str(data), *INITDB_OPTIONS],
            cwd=folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=300,
            **as_server_user(),  # type: ignore[call-overload]
        )
        assert made.returncode == 0, made.stdout + made.stderr
        options = ["-D", str(data), f"-cport={port}", *(f"-c{setting}" for setting in SETTINGS)]
        tool = Tool(binaries / "postgres", Path("/"), {})
        with run_tool(tool, options, give(folder), port, last=signal.SIGQUIT):
            wait_until_it_answers(SourceServer(port))
            yield SourceServer(port)


def wait_until_it_answers(server: SourceServer) -> None:
    """Returns when the server has started: its port is open before."""
    for _ in range(1_000):
        with suppress(psycopg.OperationalError):
            psycopg.connect(server.url(), connect_timeout=5).close()
            return
    raise AssertionError("the source does not answer")


@pytest.fixture(scope="module")
def source_server(server: EmbeddedPostgres) -> Iterator[SourceServer]:
    """The server of a module's source databases."""
    with run_source(server.binaries) as running:
        yield running


@dataclass
class Shop:
    """A product whose one dataset follows a table of another database."""

    lab: Lab
    url: str
    address: str = "shop@1.orders"

    def run(self, *statements: str) -> None:
        """Runs statements at the source, each committed by itself."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def ask(self, query: str) -> Any:
        """One value of the source."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
            return row[0] if row else None

    def load(self) -> Any:
        """One load; its report."""
        return self.lab.loader().run(self.lab.dataset(self.address))

    def load_all(self) -> list[Any]:
        """Loads until nothing is left."""
        reports = [self.load()]
        while reports[-1].more:
            reports.append(self.load())
        return reports

    def create(self) -> Any:
        """Makes publication and slot by Decant's own means."""
        loader = self.lab.loader()
        return create_slot(loader.settings, loader.tables, loader.engine, self.lab.dataset(self.address), "test")

    def drop(self) -> Any:
        """Drops the slot by Decant's own means."""
        loader = self.lab.loader()
        return drop_slot(loader.settings, loader.tables, loader.engine, self.lab.dataset(self.address), "test")

    def records(self, columns: str = "id, amount") -> list[tuple[Any, ...]]:
        """The current records, by key."""
        return self.lab.rows(f"SELECT {columns} FROM shop_v1.orders ORDER BY id")

    def waits(self) -> bool:
        """Whether a worker would load the table now."""
        loader, dataset = self.lab.loader(), self.lab.dataset(self.address)
        return has_new_messages(loader, dataset, read_progress(loader.engine, dataset))

    def rejects(self) -> list[tuple[Any, ...]]:
        """Where the rejected records lie, with their raw texts and what is wrong with them."""
        query = "SELECT file, line, raw, reasons -> 0 ->> 'message' FROM decant.rejected_records ORDER BY id"
        return self.lab.rows(query)

    def position(self) -> str | None:
        """Up to where the source's log is published."""
        rows = self.lab.rows("SELECT position ->> 'lsn' FROM decant.input_states")
        return rows[0][0] if rows else None


MakeShop = Callable[..., Shop]


def write_contract(url: str, slot: str, more: str = "", keep: float = 1, user: str = OWNER, **options: Any) -> str:
    """The product's contract; `options` are more keys of its input."""
    where = urlsplit(url)
    replication = {"publication": "decant", "slot": slot, "keepGb": keep}
    chosen = {"server": "erp", "table": "orders", "mode": "upsert", "replication": replication} | options
    return CONTRACT.format(user=user, port=where.port, database=where.path[1:], input=json.dumps(chosen), more=more)


@pytest.fixture
def make_shop(source_server: SourceServer, make_lab: Callable[..., Lab]) -> Iterator[MakeShop]:
    """Makes the product and its source database, whose table has the columns that are given."""
    made: list[str] = []

    def make(
        columns: str = "id int PRIMARY KEY, amount int", more: str = "", *, encoding: str = "UTF8", **options: Any
    ) -> Shop:
        name = f"erp_{uuid4().hex[:8]}"
        with psycopg.connect(source_server.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" {MADE_AS} ENCODING {encoding}'.encode())
        made.append(name)
        url = source_server.url(name)
        shop = Shop(make_lab(write_contract(url, f"decant_{name}", more, **options)), url)
        shop.run(f"CREATE TABLE orders ({columns})")
        return shop

    yield make
    KEPT.close()
    with psycopg.connect(source_server.url(), autocommit=True) as connection:
        for name in made:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [name]
            )
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
