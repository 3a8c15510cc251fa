"""What the SQL of one dataset may read: its own product, what others grant, and what is open to everybody. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from catalog.model.dataset import CLASSIFIED, Dataset, Product
from catalog.model.rule_text import fill_rule
from catalog.sql.query import TableRead, find_tables, parse_query

SERVED = ("active", "deprecated")


@dataclass(frozen=True)
class Source:
    """A dataset that may be read, and the properties of it that may."""

    dataset: Dataset
    properties: tuple[str, ...]
    granted: bool  # False: only as far as it is open to everybody


class UnreadableError(ValueError):
    """The SQL of a dataset may not read another one; the message says what would have to be granted."""


class Readings:
    """Which dataset may read which."""

    def __init__(self, products: Iterable[Product]) -> None:
        self.by_schema = {product.schema: product for product in products}
        # What the SQL of rules reads, as it was found; as many entries as the contracts have rules.
        self.rules: dict[tuple[str, str, str, str | None], frozenset[tuple[str, str, str]]] = {}

    def find(self, reader: Dataset, schema: str, name: str, *, physical: bool = False) -> Source | None:
        """The dataset that a table of a query means, None where there is none; UnreadableError.

        `physical`: a table may also be called as it is in the database, as in quality rules.
        """
        product = self.by_schema.get(schema or reader.schema)
        if product is None:
            return None
        found = product.datasets.get(name)
        if physical:
            tables = {dataset.table: dataset for dataset in product.datasets.values()}
            found = tables.get(name, found)
        return self.open(reader, product, found) if found else None

    def open(self, reader: Dataset, product: Product, dataset: Dataset) -> Source:
        """A dataset as `reader` may read it; UnreadableError."""
        names = tuple(dataset.properties)
        if reader.product == product.id or {reader.product, f"{reader.product}@{reader.major}"} & {*product.grants}:
            return Source(dataset, names, granted=True)
        if not is_open(product, dataset):
            raise UnreadableError(
                f"{dataset.address} is not granted: its contract must list {reader.product} in the custom property"
                " 'grants'"
            )
        unclassified = (n for n, prop in dataset.properties.items() if prop.classification not in CLASSIFIED)
        return Source(dataset, tuple(unclassified), granted=False)

    def foreign(self, product: Product) -> Iterator[Source]:
        """What the SQL of a product's datasets reads in other products."""
        for dataset in product.datasets.values():
            for table, physical in list_reads(dataset):
                if table.schema not in {"", product.schema}:
                    try:
                        found = self.find(dataset, table.schema, table.name, physical=physical)
                    except UnreadableError:
                        continue
                    if found is not None:
                        yield found


def list_reads(dataset: Dataset) -> Iterator[tuple[TableRead, bool]]:
    """The tables that a dataset's query and its quality rules name, and whether they are named as in the database."""
    if dataset.input is not None and dataset.input.query is not None:
        yield from ((table, False) for table in find_tables(parse_query(dataset.input.query)))
    for gate in dataset.gates:
        if gate.kind == "sql":
            yield from (
                (table, True) for table in find_tables(parse_query(fill_rule(dataset, gate), deterministic=False))
            )


def is_open(product: Product, dataset: Dataset) -> bool:
    """Whether everybody may read all records of a dataset."""
    return product.status in SERVED and any(
        role.anonymous and role.access == "read" and (role.rows is None or role.rows.get(dataset.name, "") is None)
        for role in product.roles
    )
