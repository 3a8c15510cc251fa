"""Databases of the tests' server, made and cloned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident
from types import ModuleType, SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.util import pyfiles
from alembic.util.pyfiles import load_module_py
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from catalog.migration import alembic_scripts
from catalog.migration import migrate as migrations
from catalog.migration.table_changes import Branch, Comparison, compare_schema
from catalog.model.catalog import Catalog
from catalog.storage.dataset_tables import build_tables, find_storage
from catalog.storage.ledger_tables import SCHEMA
from runtime.postgres.database import ROLES, DatabaseUrls
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from runtime.settings.settings import load_settings
from runtime.shipped import SHIPPED_VERSIONS
from tests.support.lab import Lab

DIALECT: sa.Dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Template:
    """A database that was migrated, and the scripts that the migration wrote."""

    name: str
    scripts: dict[str, str]

    def write_scripts(self, lab: Lab) -> None:
        """The scripts that made the template belong to its clones too."""
        folder = lab.settings.home / "migrations"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.scripts.items():
            (folder / name).write_text(text)


def find_scripts(lab: Lab) -> list[Path]:
    """The scripts of the contracts that a product's folder has."""
    return sorted((lab.settings.home / "migrations").glob("*.py"))


def describe_tables(catalog: Catalog) -> str:
    """What a migration makes of contracts, as text: the same for contracts that differ in inputs or rules alone."""
    lines = []
    for product in catalog.products.values():
        lines.append(f"{product.schema} {product.version} {[*product.datasets]}")
        for table in build_tables([product]).metadata.sorted_tables:
            lines.append(str(CreateTable(table).compile(dialect=DIALECT)))
            lines.append(str(find_storage(table)))
            lines += sorted(str(CreateIndex(index).compile(dialect=DIALECT)) for index in table.indexes)
    return "\n".join(lines)


@cache
def load_shipped(name: str, path: Path) -> ModuleType:
    """A script that ships with Decant, loaded once: Alembic would load all of them for each migration."""
    return load_module_py(name, path)


def bring_up(lab: Lab, fitting: Set[str]) -> None:
    """Migrates a clone. What fits, `fitting` and Decant's own tables, is neither compared nor granted again."""

    def compare(connection: sa.Connection, branch: Branch) -> Comparison | SimpleNamespace:
        fits = branch.schema == SCHEMA or branch.schema in fitting
        return SimpleNamespace(differences=[]) if fits else compare_schema(connection, branch)

    def load(name: str, path: Path) -> ModuleType:
        return (load_shipped if path.parent == SHIPPED_VERSIONS else load_module_py)(name, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyfiles, "load_module_py", load)
        patch.setattr(alembic_scripts, "compare_schema", compare)
        patch.setattr(migrations, "grant_ledger", lambda _connection: None)
        lab.migrate()


class Databases:
    """Makes databases, and clones those that have been migrated before instead of migrating again."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.numbers = count(1)
        self.by_contracts: dict[tuple[str, ...], Template] = {}
        self.by_tables: dict[str, Template] = {}
        # Of what was asked for once: most contracts, and most tables, come no second time and need no template.
        self.asked: set[tuple[str, ...]] = set()
        self.migrated: set[str] = set()
        self.base: str | None = None
        self.dropper = ThreadPoolExecutor(max_workers=1)
        # One of each thread that asked, kept: to connect costs the server more than most statements.
        self.connections: dict[int, psycopg.Connection] = {}

    def create(self, template: str = "template1", name: str | None = None) -> str:
        """The name of a new database."""
        name = name or self.next_name()
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def next_name(self) -> str:
        """A name that no database had."""
        return f"test_{next(self.numbers)}"

    def urls(self, name: str) -> DatabaseUrls:
        """The four logins of a database."""
        url = self.server.url
        return DatabaseUrls(url(database=name), *(url(user=role, database=name) for role in ROLES))

    def run(self, statement: str) -> None:
        """Runs a statement as the owner of the server."""
        thread = get_ident()
        if thread not in self.connections:
            self.connections[thread] = psycopg.connect(self.server.url(), autocommit=True)
        self.connections[thread].execute(statement.encode())

    def close(self) -> None:
        """Ends with its server; what is still to be dropped goes with the server's folder."""
        self.dropper.shutdown(cancel_futures=True)
        for connection in self.connections.values():
            connection.close()

    def find_base(self) -> str:
        """The name of the database that every template begins as: with Decant's own tables and no product's."""
        if self.base is None:
            self.base = self.create()
            with TemporaryDirectory() as home:
                migrations.migrate(load_settings(home=Path(home)), self.urls(self.base).owner, Catalog({}))
        return self.base

    def drop(self, name: str) -> None:
        """Drops a database beside the tests: Postgres writes all of its buffers first, and nobody waits for it."""
        self.dropper.submit(self.run, f'DROP DATABASE "{name}" WITH (FORCE)')

    def fill(self, lab: Lab, name: str, contracts: tuple[str, ...]) -> None:
        """Makes a product's database: a clone where these contracts, or the same tables, were migrated before."""
        template = self.by_contracts.get(contracts)
        if template is None:
            # Scripts of a product that the folder had before would be part of the template of these tables.
            tables = None if find_scripts(lab) else describe_tables(lab.catalog)
            similar = self.by_tables.get(tables or "")
            known = contracts in self.asked or (similar is None and tables in self.migrated)
            self.asked.add(contracts)
            if tables is not None:
                self.migrated.add(tables)
            if not known:
                self.make_migrated(lab, name, similar)
                return
            template = self.by_contracts[contracts] = self.make_template(lab, similar)
            lab.urls = self.urls(name)
            if tables is not None:
                self.by_tables.setdefault(tables, template)
        self.create(template.name, name)
        template.write_scripts(lab)

    def make_template(self, lab: Lab, similar: Template | None) -> Template:
        """A new template of the product's database."""
        name = self.next_name()
        lab.urls = self.urls(name)
        self.make_migrated(lab, name, similar)
        return Template(name, {path.name: path.read_text() for path in find_scripts(lab)})

    def make_migrated(self, lab: Lab, name: str, similar: Template | None) -> None:
        """Makes a database, from one with the same tables if there is one, and migrates it to the contracts."""
        self.create(similar.name if similar else self.find_base(), name)
        if similar is not None:
            similar.write_scripts(lab)
        bring_up(lab, {product.schema for product in lab.catalog.products.values()} if similar else set())

    @contextmanager
    def labs(self, folder: Path) -> Iterator[Callable[..., Lab]]:
        """Builds products of contracts in a folder, each on a database that goes with the context."""
        made = []
        kept = []  # until the end: a test may hold no more of a product than what loads it

        def make(*contracts: str, **settings: Any) -> Lab:
            name = self.next_name()
            lab = Lab.build(folder, self.urls(name), *contracts, **settings)
            self.fill(lab, name, contracts)
            made.append(name)
            kept.append(lab)
            return lab

        yield make
        for lab in kept:
            lab.close()
        for name in made:
            self.drop(name)
