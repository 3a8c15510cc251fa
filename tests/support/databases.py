"""Databases of the tests' server, made and cloned."""

from __future__ import annotations

from itertools import count

import psycopg

from runtime.database import ROLES, DatabaseUrls
from runtime.embedded_postgres import EmbeddedPostgres


class Databases:
    """Makes databases, and clones those that have been migrated before instead of migrating again."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.numbers = count(1)
        self.templates: dict[tuple[str, ...], tuple[str, dict[str, str]]] = {}

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
