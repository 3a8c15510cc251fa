"""The product `shop`, fed by a table of another database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from ingest.loading.load_report import LoadReport
from tests.support.databases import Databases
from tests.support.lab import Lab

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: Shop
version: 1.0.0
status: active
servers:
  - server: erp
    type: custom
    customProperties: [{{property: url, value: "${{ERP_URL}}"}}]
schema:
  - name: orders
    customProperties:
      - {{property: input, value: {{server: erp, {words}}}}}
      - {{property: maxDeleted, value: 100}}
      - {{property: maxRejected, value: 100}}
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - {{name: note, logicalType: string}}
      - {{name: amount, logicalType: number, physicalType: "numeric(38,10)"}}
      - {{name: updated, logicalType: timestamp}}
"""


class Erp:
    """The other database, as its owner sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture
def erp(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Erp]:
    """A second database with a table of orders."""
    name = databases.create()
    url = databases.urls(name).owner
    monkeypatch.setenv("ERP_URL", url)
    shop = Erp(url)
    shop.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, note text, amount numeric, updated timestamptz);"
        "INSERT INTO orders VALUES (3, 'c', 0.1, '2026-03-01 10:00+02'), (1, 'a', 1e20, '2026-01-01'),"
        " (2, '', null, null)"
    )
    yield shop
    databases.drop(name)


@pytest.fixture
def shop(make_lab: Callable[..., Lab]) -> Callable[[str], Lab]:
    """The product with an input of these words."""
    return lambda words: make_lab(CONTRACT.format(words=words), input_roots="*=/")


def load(lab: Lab) -> LoadReport:
    return lab.loader().run(lab.dataset("shop.orders"))


def landed(lab: Lab) -> list[dict[str, Any]]:
    """The last raw batch, record by record; numbers as they are written."""
    rows = lab.rows("SELECT landed -> 'parts' -> 0 ->> 'sha256' FROM decant.loads ORDER BY id DESC LIMIT 1")
    path = lab.landing / rows[0][0][:2] / rows[0][0]
    return [json.loads(line, parse_float=str, parse_int=str) for line in path.read_text().splitlines()]
