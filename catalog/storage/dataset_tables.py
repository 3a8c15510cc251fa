"""Dataset -> SQLAlchemy tables: the current revision, its history, and the staging twin of a load. Pure.

Constraints other than the key are the rules' business, not the table's: loosening a rule, or keeping an old
record, never rewrites a table. So every column but the key's is nullable and none has a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import Dataset, Product, shorten_name
from catalog.model.readable_datasets import Readings
from runtime.postgres.sql_types import SqlExpression

STAGING_SCHEMA = "decant_staging"
STAGING_NAME = re.compile(r"load_([0-9]{1,18})_[0-9]+")
REVISION = "_revision"  # which publication wrote the record
LOAD = "_load"  # which load brought it
LINE = "_line"  # at which line of the load's raw batch
SEARCHED_CHARACTERS = 100_000  # of one record; a tsvector ends at 1 MB
EMPTY = sa.literal_column("''", sa.Text)
UNTIL = "_until"  # history only: the first revision in which the record was no longer there
STORAGE = "storage"  # in the `info` of the metadata: a Storage for each table, by its key


@dataclass(frozen=True)
class Layout:
    """How a table is spread over partitions: by HASH of one column, and what they are called."""

    column: str
    partitions: tuple[str, ...]  # in the order of their remainders


@dataclass(frozen=True)
class Storage:
    """Whose a table is, and how it is spread; None where it is in one piece."""

    product: str
    major: int
    layout: Layout | None


@dataclass(frozen=True)
class DatasetTables:
    """The tables of one dataset: its current revision, and what was replaced or deleted."""

    dataset: Dataset
    current: sa.Table
    history: sa.Table

    def staging(self, load_id: int, attempt: int) -> sa.Table:
        """The unlogged twin that one attempt of a load is staged in; `attempt` is its fencing token."""
        return sa.Table(
            staging_name(load_id, attempt),
            sa.MetaData(),
            *(sa.Column(column.name, column.type) for column in self.current.columns),
            schema=STAGING_SCHEMA,
            prefixes=["UNLOGGED"],
        )

    def columns(self) -> list[str]:
        """The names of the contract's columns, in its order."""
        return [prop.column for prop in self.dataset.properties.values()]

    def key(self) -> list[str]:
        """The names of the key's columns."""
        return [self.dataset.properties[name].column for name in self.dataset.key]


def staging_name(load_id: int, attempt: int) -> str:
    """What the staging table of one attempt of a load is called."""
    return f"load_{load_id}_{attempt}"


def read_load_id(name: str) -> int:
    """The id of the load that a staging table belongs to; 0, which no load has, where the name is not of one."""
    found = STAGING_NAME.fullmatch(name)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class CatalogTables:
    """The tables of every dataset, and the metadata that holds them."""

    metadata: sa.MetaData
    by_dataset: dict[tuple[str, str], DatasetTables]
    readings: Readings

    def of(self, dataset: Dataset) -> DatasetTables:
        """The tables of a dataset."""
        return self.by_dataset[dataset.schema, dataset.name]


def build_tables(products: Iterable[Product]) -> CatalogTables:
    """The tables of all datasets of these products."""
    metadata = sa.MetaData()
    built = {}
    products = list(products)
    for product in products:
        for dataset in product.datasets.values():
            built[dataset.schema, dataset.name] = DatasetTables(
                dataset,
                build_table(metadata, dataset, history=False),
                build_table(metadata, dataset, history=True),
            )
    return CatalogTables(metadata, built, Readings(products))


def build_table(metadata: sa.MetaData, dataset: Dataset, *, history: bool) -> sa.Table:
    """The dataset's current table, or its history."""
    name = name_table(dataset, history=history)
    key = [dataset.properties[part].column for part in dataset.key]
    columns = [
        # A key of integers would get a sequence of its own otherwise.
        sa.Column(prop.column, prop.type.sqlalchemy, nullable=prop.column not in key, autoincrement=False)
        for prop in dataset.properties.values()
    ]
    columns += [
        sa.Column(REVISION, sa.BigInteger, nullable=not history),
        sa.Column(LOAD, sa.BigInteger),
        sa.Column(LINE, sa.BigInteger),
    ]
    primary = list(key)
    if history:
        columns.append(sa.Column(UNTIL, sa.BigInteger))
        # A key may have been replaced many times, but each publication wrote it once.
        primary.append(REVISION)
    table = sa.Table(
        name,
        metadata,
        *columns,
        sa.PrimaryKeyConstraint(*primary, name=name_key(name)),
        *(make_index(dataset, name, leading) for leading in table_indexes(dataset, key, history=history)),
        schema=dataset.schema,
    )
    # Not in the `info` of the table: Alembic would write it into its scripts.
    stored = metadata.info.setdefault(STORAGE, {})
    stored[table.key] = Storage(dataset.product, dataset.major, lay_out(dataset, name))
    return table


def find_storage(table: sa.Table) -> Storage | None:
    """What is known of a dataset's table; None for a table of no dataset."""
    found: Storage | None = table.metadata.info.get(STORAGE, {}).get(table.key)
    return found


def lay_out(dataset: Dataset, table: str) -> Layout | None:
    """The partitions of one of the dataset's tables; None where it is in one piece.

    By the first column of the key: every unique index has it, and the records of one key are in one partition.
    """
    number = dataset.partitions
    if number is None or not dataset.key:
        return None
    names = (shorten_name(f"_{table}_{index}_of_{number}") for index in range(number))
    return Layout(dataset.properties[dataset.key[0]].column, tuple(names))


def name_relations(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """What the dataset has in its product's schema, each with its name: there tables and indexes share names.

    Of names alone, without the tables: all contracts are checked whenever they are read.
    """
    key = [dataset.properties[part].column for part in dataset.key]
    for history, what in ((False, ""), (True, " of its history")):
        table = name_table(dataset, history=history)
        yield f"table{what}", table
        yield f"index{what} for the key", name_key(table)
        indexes = table_indexes(dataset, key, history=history)
        for name, leading in sorted((name_index(table, columns), columns) for columns in indexes):
            yield f"index{what} for {leading[0]}", name


def name_table(dataset: Dataset, *, history: bool) -> str:
    """What the dataset's current table is called, or its history."""
    return shorten_name(f"{dataset.table}_history") if history else dataset.table


def name_key(table: str) -> str:
    """What the index of a table's key is called."""
    return shorten_name(f"pk_{table}")


def name_index(table: str, leading: list[str]) -> str:
    """What a table's index that begins with these columns is called."""
    return shorten_name(f"ix_{table}_{'_and_'.join(leading)}")


def table_indexes(dataset: Dataset, key: list[str], *, history: bool) -> list[list[str]]:
    """The leading columns of each index of a table but the key's."""
    return [*find_indexes(dataset, key), [REVISION], *([[UNTIL]] if history else [])]


def search_vector(dataset: Dataset, table: Any) -> SqlExpression:
    """The words of a record's searchable texts, as the index holds them and as a search must ask for them.

    Of each text only so much is looked at as never passes what Postgres can index of one record.
    """
    texts: list[Any] = [
        sa.func.coalesce(sa.func.left(table.c[dataset.properties[name].column], sa.literal_column(str(limit))), EMPTY)
        for limit in [SEARCHED_CHARACTERS // len(dataset.searched)]
        for name in dataset.searched
    ]
    joined = texts[0]
    for text in texts[1:]:
        joined = joined.op("||")(sa.literal_column("' '")).op("||")(text)
    return sa.func.to_tsvector(sa.literal_column(f"'{dataset.search_language}'::regconfig"), joined)


def find_indexes(dataset: Dataset, key: list[str]) -> list[list[str]]:
    """The leading columns of each index that the contract asks for: foreign keys, and what is marked `indexed`."""
    linked = [[dataset.properties[name].column for name in foreign.properties] for foreign in dataset.foreign_keys]
    marked = [[prop.column] for prop in dataset.properties.values() if prop.indexed]
    leading = {tuple(columns): columns for columns in (*linked, *marked)}.values()
    # What the key begins with, its own index finds.
    return [columns for columns in leading if columns != key[: len(columns)]]


def make_index(dataset: Dataset, table: str, leading: list[str]) -> sa.Index:
    """An index of a table that finds records by these columns.

    The rest of the key follows them, so that a page of what they find needs no sorting.
    """
    name = name_index(table, leading)
    if any(prop.type.item for prop in dataset.properties.values() if prop.column == leading[0]):
        return sa.Index(name, *leading, postgresql_using="gin")
    key = [dataset.properties[part].column for part in dataset.key]
    rest = [] if leading == [REVISION] else [column for column in key if column not in leading]
    return sa.Index(name, *leading, *rest)


def leads_index(dataset: Dataset, name: str) -> bool:
    """Whether an index has the dataset's records in the order of a property, and then of the key."""
    prop = dataset.properties[name]
    key = [dataset.properties[part].column for part in dataset.key]
    return prop.type.ordered and [prop.column] in find_indexes(dataset, key)
