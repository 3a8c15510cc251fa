"""Databases of the tests' server, made and cloned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from catalog.migration.migrate import migrate
from catalog.model.catalog import Catalog
from runtime.postgres.database import ROLES, DatabaseUrls
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from tests.support.lab import Lab


class Databases:
    """Makes databases, and clones those that have been migrated before instead of migrating again."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.numbers = count(1)
        self.templates: dict[tuple[str, ...], tuple[str, dict[str, str]]] = {}
        self.base: str | None = None
        self.dropper = ThreadPoolExecutor(max_workers=1)

    def create(self, template: str = "template1") -> str:
        """The name of a new database."""
        name = f"test_{next(self.numbers)}"
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def urls(self, name: str) -> DatabaseUrls:
        """The four logins of a database."""
        url = self.server.url
        return DatabaseUrls(url(database=name), *(url(user=role, database=name) for role in ROLES))

    def run(self, statement: str) -> None:
        """Runs a statement as the owner of the server."""
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def find_base(self, folder: Path) -> str:
        """The name of the database that every template begins as: with Decant's own tables and no product's."""
        if self.base is None:
            self.base = self.create()
            lab = Lab.build(folder, self.urls(self.base))
            migrate(lab.settings, lab.urls.owner, Catalog({}))
        return self.base

    def drop(self, name: str) -> None:
        """Drops a database beside the tests: Postgres writes all of its buffers first, and nobody waits for it."""
        self.dropper.submit(self.run, f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def labs(self, folder: Path) -> Iterator[Callable[..., Lab]]:
        """Builds products of contracts in a folder, each on a database that goes with the context."""
        made = []
        kept = []  # until the end: a test may hold no more of a product than what loads it

        def make(*contracts: str, **settings: Any) -> Lab:
            if contracts not in self.templates:
                base = self.find_base(folder)  # builds a product in the folder, and so comes first
                template = self.create(base)
                lab = Lab.build(folder, self.urls(template), *contracts, **settings)
                lab.migrate()
                written = {p.name: p.read_text() for p in (folder / "home" / "migrations").glob("*.py")}
                self.templates[contracts] = (template, written)
                made.append(self.create(template))
                lab.urls = self.urls(made[-1])
                kept.append(lab)
                return lab
            template, scripts = self.templates[contracts]
            made.append(self.create(template))
            lab = Lab.build(folder, self.urls(made[-1]), *contracts, **settings)
            # The scripts that made the template belong to its clones too.
            (folder / "home" / "migrations").mkdir(parents=True, exist_ok=True)
            for name, text in scripts.items():
                (folder / "home" / "migrations" / name).write_text(text)
            kept.append(lab)
            return lab

        yield make
        for lab in kept:
            lab.close()
        for name in made:
            self.drop(name)
