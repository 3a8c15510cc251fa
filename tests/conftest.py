"""One embedded Postgres for all tests, and a fresh database for each that asks for one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runtime.database import DatabaseUrls, create_roles
from runtime.embedded_postgres import EmbeddedPostgres, run_embedded
from tests.support.databases import Databases
from tests.support.documents import flights  # noqa: F401 - a fixture
from tests.support.lab import Lab
from tests.support.source_database import erp  # noqa: F401 - a fixture
from tests.support.telemetry import collector  # noqa: F401 - a fixture
from tests.support.tools import mariadb, pgbouncer  # noqa: F401 - fixtures

PROCESSES = ("subprocess", "run_embedded", "uvicorn")  # what a file of tests that start processes imports,
STARTERS = {f"tests.support.{name}" for name in ("command_line", "serve_process", "site", "tools")}  # or has parts of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test by what it needs: `database`, `process`, or neither, which is `unit`."""
    starts: dict[str, bool] = {}
    for item in items:
        module = getattr(item, "module", None)
        name = getattr(module, "__name__", "")
        if name not in starts:
            starts[name] = any(hasattr(module, each) for each in PROCESSES) or any(
                getattr(part, "__module__", "") in STARTERS for part in vars(module or item).values()
            )
        needs_database = "server" in getattr(item, "fixturenames", ())
        if needs_database:
            item.add_marker("database")
        if starts[name]:
            item.add_marker("process")
        if not needs_database and not starts[name]:
            item.add_marker("unit")


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The server. Its folder must be open to the unprivileged user that runs it, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="decant-tests-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with run_embedded(folder / "postgres") as running:
            with psycopg.connect(running.url(), autocommit=True) as connection:
                create_roles(connection)
                # No test outlasts a loss of power: to wait for the disk was half of a test's time.
                for name in ("fsync", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
                connection.execute("SELECT pg_reload_conf()")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def databases(server: EmbeddedPostgres) -> Databases:
    """The maker of databases."""
    return Databases(server)


@pytest.fixture
def urls(databases: Databases) -> Iterator[DatabaseUrls]:
    """The four logins of a new, empty database."""
    name = databases.create()
    yield databases.urls(name)
    databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def make_lab(tmp_path: Path, databases: Databases) -> Iterator[Callable[..., Lab]]:
    """Builds the product of some contracts, on a database of its own."""
    made = []

    def make(*contracts: str, **settings: Any) -> Lab:
        if contracts not in databases.templates:
            template = databases.create()
            Lab.build(tmp_path, databases.urls(template), *contracts, **settings).migrate()
            written = {p.name: p.read_text() for p in (tmp_path / "home" / "migrations").glob("*.py")}
            databases.templates[contracts] = (template, written)
        template, scripts = databases.templates[contracts]
        made.append(databases.create(template))
        lab = Lab.build(tmp_path, databases.urls(made[-1]), *contracts, **settings)
        # The scripts that made the template belong to its clones too.
        (tmp_path / "home" / "migrations").mkdir(parents=True, exist_ok=True)
        for name, text in scripts.items():
            (tmp_path / "home" / "migrations" / name).write_text(text)
        return lab

    yield make
    for name in made:
        databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """The product `people`."""
    return make_lab()
