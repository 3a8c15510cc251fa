"""Partitions of datasets' tables: what the database has, what the contracts say, and the steps between them.

Alembic knows no partitions. It is shown the tables without them, and makes every table in one piece;
`decant.repartition` copies a table into what it should be, with everything that stands beside its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from alembic.operations import ops

from catalog.migration.statements import QUOTES, execute, quote_text
from catalog.storage.dataset_tables import Layout, find_storage
from catalog.storage.ledger_tables import SCHEMA

# The tables of a schema. Of a partitioned one its column, where it is one and split by its hash, and its partitions.
FIND_TABLES = """
SELECT c.relname, c.relispartition, c.relkind = 'p' AS is_partitioned, a.attname, ARRAY(
  SELECT p.relname::text FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhrelid WHERE i.inhparent = c.oid
) AS partitions
FROM pg_class AS c LEFT JOIN pg_partitioned_table AS t ON t.partrelid = c.oid
LEFT JOIN pg_attribute AS a
  ON a.attrelid = c.oid AND t.partstrat = 'h' AND t.partnatts = 1 AND a.attnum = t.partattrs[0]
WHERE c.relnamespace = to_regnamespace(:schema) AND c.relkind IN ('r', 'p')
"""


@dataclass(frozen=True)
class PresentTables:
    """The tables that a schema has."""

    layouts: dict[str, Layout | None]  # of each table that is no partition
    partitions: frozenset[str]


@dataclass(frozen=True)
class LayoutChange:
    """A table that is spread otherwise than its contract says."""

    table: sa.Table
    old: Layout | None
    new: Layout | None

    def __str__(self) -> str:
        return f"change partitions {self.table.name}: {show(self.new)} instead of {show(self.old)}, by a copy"


def show(layout: Layout | None) -> str:
    """A layout in words."""
    return "none" if layout is None else f"{len(layout.partitions)} by {layout.column or 'something else'}"


def find_tables(connection: sa.Connection, schema: str) -> PresentTables:
    """The tables of a schema; none where it is not there."""
    layouts, partitions = {}, set()
    for row in connection.execute(sa.text(FIND_TABLES), {"schema": QUOTES.quote(schema)}):
        if row.relispartition:
            partitions.add(row.relname)
        else:
            layout = Layout(row.attname or "", tuple(row.partitions)) if row.is_partitioned else None
            layouts[row.relname] = layout
    return PresentTables(layouts, frozenset(partitions))


def find_layout_changes(present: PresentTables, metadata: sa.MetaData) -> Iterator[LayoutChange]:
    """The tables that are there, and spread otherwise than the metadata says."""
    for table in metadata.tables.values():
        if table.name in present.layouts:
            old, new = present.layouts[table.name], find_layout(table)
            if not is_same(old, new):
                yield LayoutChange(table, old, new)


def find_layout(table: sa.Table) -> Layout | None:
    """How a table of a dataset has to be spread; None where it is in one piece, and for all other tables."""
    storage = find_storage(table)
    return storage.layout if storage is not None else None


def is_same(old: Layout | None, new: Layout | None) -> bool:
    """Whether two layouts are one, in whatever order their partitions come."""
    if old is None or new is None:
        return old is new
    return old.column == new.column and sorted(old.partitions) == sorted(new.partitions)


def find_changed_columns(operation: ops.MigrateOperation) -> Iterator[tuple[str, str]]:
    """(table, column) of every column that Alembic's operations drop or give another type."""
    for child in getattr(operation, "ops", []):
        match child:
            case ops.DropColumnOp():
                yield child.table_name, child.column_name
            case ops.AlterColumnOp() if child.modify_type is not None:
                yield child.table_name, child.column_name
            case _:
                yield from find_changed_columns(child)


def plan_layouts(
    present: PresentTables, metadata: sa.MetaData, upgrades: ops.UpgradeOps, downgrades: ops.DowngradeOps
) -> None:
    """Adds to Alembic's own operations what spreads tables as the metadata says, and back."""
    changed = set(find_changed_columns(upgrades))
    for table in metadata.tables.values():
        old, new = present.layouts.get(table.name), find_layout(table)
        touched = old is not None and (table.name, old.column) in changed
        if is_same(old, new) and not touched:
            continue
        for operations, start, end in ((upgrades, old, new), (downgrades, new, old)):
            # A table that was not there before is dropped on the way back.
            if operations is upgrades or table.name in present.layouts:
                surround(operations, table, start, end, touched=touched)


def surround(
    operations: ops.UpgradeOps | ops.DowngradeOps,
    table: sa.Table,
    start: Layout | None,
    end: Layout | None,
    *,
    touched: bool,
) -> None:
    """Puts the copies of a table before and after the other operations.

    Postgres changes no column that partitions are made by: then the table is put together first.
    """
    apart = start is not None and (end is None or start.column != end.column or touched)
    before = write_copy(table, None) if apart else []
    after = write_copy(table, end) if end is not None else []
    operations.ops = [*before, *operations.ops, *after]


def write_copy(table: sa.Table, layout: Layout | None) -> list[ops.ExecuteSQLOp]:
    """The statements that copy a table; however long it takes, it was asked for.

    The product's heads are held: a load that read the table and waits to write it would keep the copy from its place.
    """
    storage = find_storage(table)
    if storage is None:
        return []
    column = quote_text(layout.column) if layout is not None else "NULL"
    names = ", ".join(quote_text(name) for name in layout.partitions) if layout is not None else ""
    return [
        execute("SET LOCAL statement_timeout = 0"),
        execute(
            f"SELECT FROM {SCHEMA}.datasets WHERE product = {quote_text(storage.product)} AND major = {storage.major}"
            " ORDER BY id FOR NO KEY UPDATE"
        ),
        execute(
            f"SELECT {SCHEMA}.repartition({quote_text(QUOTES.format_table(table))}, {column}, ARRAY[{names}]::name[])"
        ),
    ]
