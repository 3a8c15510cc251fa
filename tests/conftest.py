"""One embedded Postgres for all tests, and a fresh database for each that asks for one."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from runtime.postgres.database import DatabaseUrls, create_roles
from runtime.postgres.embedded_postgres import EmbeddedPostgres, run_embedded
from tests.support.buckets import bucket_server  # noqa: F401 - a fixture
from tests.support.compiled_statements import share_compiled_statements
from tests.support.databases import Databases
from tests.support.documents import flights  # noqa: F401 - a fixture
from tests.support.examples import PROFILE, mark_samples
from tests.support.lab import Lab
from tests.support.previous import previous  # noqa: F401 - a fixture
from tests.support.server_folder import make_server_folder
from tests.support.service import share_trusted_roots
from tests.support.source_database import erp  # noqa: F401 - a fixture
from tests.support.telemetry import collector  # noqa: F401 - a fixture
from tests.support.tools import mariadb, pgbouncer  # noqa: F401 - fixtures

settings.load_profile(PROFILE)
share_compiled_statements()
share_trusted_roots()
# Objects until a look for garbage, and looks until one at older ones: by default they take a tenth of all time.
COLLECTIONS = (20_000, 20, 20)
gc.disable()  # modules are imported from here on, which stay
Load = Callable[[Callable[..., Lab]], Lab]  # builds and loads a product, with `make_lab`
PROCESSES = ("subprocess", "run_embedded", "uvicorn")  # what a file of tests that start processes imports,
STARTERS = {
    f"tests.support.{name}"
    for name in ("command_line", "deployment", "killed", "proxies", "serve_process", "site", "tools", "walkthrough")
}  # or has parts of


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """How many processes `-n auto` means: one more for each two cores, as tests wait a third of their time."""
    if "unit" in config.option.markexpr:
        return None  # these do not wait
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + cores // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test: `slow` where samples leave it out; `database` and `process` by what it needs, or `unit`."""
    mark_samples(items)
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


def pytest_collection_finish() -> None:
    """Nothing comes back; what was imported until here is looked at by no collection of garbage any more."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(*COLLECTIONS)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The server."""
    folder = make_server_folder()
    try:
        with run_embedded(folder / "postgres") as running:
            with psycopg.connect(running.url(), autocommit=True) as connection:
                create_roles(connection)
                # No test outlasts a loss of power: to wait for the disk was half of a test's time. None lasts until
                # the server tidies up by itself either, which would go round all databases that tests begin with.
                for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
                    connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
                connection.execute("SELECT pg_reload_conf()")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def databases(server: EmbeddedPostgres) -> Iterator[Databases]:
    """The maker of databases."""
    made = Databases(server)
    yield made
    made.close()


@pytest.fixture
def urls(databases: Databases) -> Iterator[DatabaseUrls]:
    """The four logins of a new, empty database."""
    name = databases.create()
    yield databases.urls(name)
    databases.drop(name)


@pytest.fixture
def make_lab(tmp_path: Path, databases: Databases) -> Iterator[Callable[..., Lab]]:
    """Builds the product of some contracts, on a database of its own."""
    with databases.labs(tmp_path) as make:
        yield make


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """The product `people`."""
    return make_lab()


@pytest.fixture(scope="module")
def shared_labs(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Callable[[Load], Lab]]:
    """The product that a function builds and loads: once for all tests of a module, with one service."""
    made: dict[Load, Lab] = {}
    with ExitStack() as stack:

        def get(load: Load) -> Lab:
            if load not in made:
                make = stack.enter_context(databases.labs(tmp_path_factory.mktemp("shared")))
                made[load] = load(make)
                made[load].share(stack)
            return made[load]

        yield get


@pytest.fixture
def product(request: pytest.FixtureRequest, shared_labs: Callable[[Load], Lab]) -> Callable[[Load], Lab]:
    """The product that a function builds and loads: the module's, or one of the test's own where it is `alone`."""
    if request.node.get_closest_marker("alone") is None:
        return shared_labs
    make_lab: Callable[..., Lab] = request.getfixturevalue("make_lab")
    return lambda load: load(make_lab)
