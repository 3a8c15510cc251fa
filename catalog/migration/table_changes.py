"""What a schema of the database would have to change to fit the contracts: differences, losses, and Alembic's steps.

Alembic finds tables, columns, types and indexes. What it does not find or cannot write is added here: another primary
key, the conversion of a column to another type, and partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from catalog.migration.compare_property import is_wider
from catalog.migration.partitions import PresentTables, find_layout_changes, find_tables, plan_layouts
from catalog.migration.search_indexes import SEARCH_PREFIX
from catalog.migration.statements import QUOTES, execute
from catalog.model.dataset import shorten_name
from catalog.model.reserved_names import OWN_TABLES
from catalog.storage.dataset_tables import UNTIL
from runtime.postgres.sql_types import SqlType


@dataclass(frozen=True)
class Branch:
    """The scripts of one schema: Decant's own, or a product's."""

    schema: str
    metadata: sa.MetaData
    title: str
    folder: Path
    depends_on: str | None


@dataclass(frozen=True)
class KeyChange:
    """A table whose primary key is another one than the contract's."""

    table: sa.Table
    name: str | None  # of the constraint that is there
    old: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def is_history(self) -> bool:
        """Whether the table keeps what was replaced."""
        return UNTIL in self.table.columns


@dataclass(frozen=True)
class Plan:
    """What brings a schema to its metadata, and back."""

    upgrades: ops.UpgradeOps
    downgrades: ops.DowngradeOps
    losses: list[str]  # in words


@dataclass(frozen=True)
class Comparison:
    """A schema of the database beside a branch's metadata, as Alembic sees it, and what Alembic does not see."""

    connection: sa.Connection
    metadata: sa.MetaData
    context: MigrationContext
    operations: ops.MigrationScript
    present: PresentTables
    keys: list[KeyChange]
    differences: list[str]  # in words

    def plan(self) -> Plan:
        """Alembic's operations there and back, completed by what it leaves out, and what they would lose; once."""
        upgrades = self.operations.upgrade_ops or ops.UpgradeOps()
        downgrades = self.operations.downgrade_ops or ops.DowngradeOps()
        losses = find_losses(self.connection, upgrades, self.keys)
        plan_layouts(self.present, self.metadata, upgrades, downgrades)
        for operations in (upgrades, downgrades):
            convert_types(operations, self.connection)
        for change in self.keys:
            before, after = change_key(change, change.name, change.new)
            upgrades.ops = [*before, *upgrades.ops, *after]
            before, after = change_key(change, str(change.table.primary_key.name), change.old)
            downgrades.ops = [*before, *downgrades.ops, *after]
        return Plan(upgrades, downgrades, losses)


def compare_schema(connection: sa.Connection, branch: Branch) -> Comparison:
    """What the database has of a branch's schema beside what it should have."""
    present = find_tables(connection, branch.schema)
    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_name": only_schema(branch.schema, present.partitions),
            "compare_type": True,
            "target_metadata": branch.metadata,
        },
    )
    operations = produce_migrations(context, branch.metadata)
    keys = find_key_changes(connection, branch)
    found = operations.upgrade_ops.as_diffs() if operations.upgrade_ops else []
    differences = [describe(difference) for difference in found]
    differences += [
        f"change key {change.table.name}: {', '.join(change.new)} instead of {', '.join(change.old) or 'none'}"
        for change in keys
    ]
    differences += [str(change) for change in find_layout_changes(present, branch.metadata)]
    return Comparison(connection, branch.metadata, context, operations, present, keys, differences)


def only_schema(schema: str, partitions: Collection[str] = ()) -> Callable[[str | None, str, Any], bool]:
    """Alembic's filter for names: one schema, without its partitions and what migrations themselves need."""

    def include(name: str | None, kind: str, _parents: object) -> bool:
        if kind == "schema":
            return name == schema
        # Indexes of text searches are kept in step apart: Alembic cannot compare what they are made of.
        if kind == "index" and (name or "").startswith(SEARCH_PREFIX):
            return False
        return not (kind == "table" and (name in OWN_TABLES or name in partitions))

    return include


def describe(difference: Any) -> str:
    """One of Alembic's differences in words."""
    match difference:
        case list():
            return "; ".join(describe(part) for part in difference)
        case ("add_column" | "remove_column" as kind, _schema, table, column):
            return f"{kind.replace('_', ' ')} {table}.{column.name}"
        case ("modify_type", _schema, table, column, _facts, old, new):
            return f"modify type {table}.{column}: {old} to {new}"
        case ("modify_nullable", _schema, table, column, _facts, _old, new):
            return f"modify {table}.{column}: {'may' if new else 'must not'} be null"
    kind, *rest = difference
    names = [str(getattr(part, "name", part)) for part in rest if part is not None and not isinstance(part, dict)]
    return f"{kind.replace('_', ' ')} {' '.join(names)}"


def find_key_changes(connection: sa.Connection, branch: Branch) -> list[KeyChange]:
    """The tables whose primary key in the database is not the contract's: Alembic does not look at it."""
    inspector = sa.inspect(connection)
    if not inspector.has_schema(branch.schema):
        return []
    present = inspector.get_multi_pk_constraint(schema=branch.schema)
    changes = []
    for table in branch.metadata.tables.values():
        found = present.get((branch.schema, table.name))
        if found is None:
            continue
        old, new = tuple(found["constrained_columns"]), tuple(column.name for column in table.primary_key.columns)
        if old != new:
            changes.append(KeyChange(table, found["name"], old, new))
    return changes


def change_key(
    change: KeyChange, old_name: str | None, new: tuple[str, ...]
) -> tuple[list[ops.MigrateOperation], list[ops.MigrateOperation]]:
    """What takes a primary key away before all other changes, and what makes the new one after them."""
    table = QUOTES.format_table(change.table)
    before: list[ops.MigrateOperation] = []
    if change.is_history:
        # Two records of an older revision may share the new key: no revision before this one can be read by it.
        before.append(execute(f"TRUNCATE {table}"))
    if old_name:
        before.append(execute(f"ALTER TABLE {table} DROP CONSTRAINT {QUOTES.quote(old_name)}"))
    name = QUOTES.quote(shorten_name(f"pk_{change.table.name}"))
    columns = ", ".join(QUOTES.quote(column) for column in new)
    after = [execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY ({columns})")] if new else []
    return before, list(after)


def convert_types(operation: ops.MigrateOperation, connection: sa.Connection) -> None:
    """Gives every change of a type its conversion: Postgres casts hardly anything by itself."""
    children: list[ops.MigrateOperation] = []
    for child in getattr(operation, "ops", []):
        convert_types(child, connection)
        if isinstance(child, ops.AlterColumnOp):
            child.kw.pop("autoincrement", None)  # MySQL's; a warning elsewhere
        if isinstance(child, ops.AlterColumnOp) and child.modify_type is not None:
            table = f"{QUOTES.quote_schema(child.schema or '')}.{QUOTES.quote(child.table_name)}"
            column, kind = QUOTES.quote(child.column_name), child.modify_type.compile(connection.dialect)
            # By way of text everything can be tried: whether it works is up to the records, if there are any.
            direct = child.existing_type is not None and can_cast(connection, child.existing_type, kind)
            value = column if direct else f"{column}::text"
            children.append(execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {value}::{kind}"))
            child.modify_type = None
            if child.modify_nullable is None:
                continue
        children.append(child)
    if hasattr(operation, "ops"):
        operation.ops = children


def can_cast(connection: sa.Connection, old: SqlType, new: str) -> bool:
    """Whether Postgres has a cast between the types."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"SELECT NULL::{old.compile(connection.dialect)}::{new}")
    except sa.exc.ProgrammingError:
        return False
    return True


def find_losses(connection: sa.Connection, upgrades: ops.UpgradeOps, keys: list[KeyChange]) -> list[str]:
    """What a migration would throw away or convert, in words; tables without a record can lose nothing."""
    losses = list(list_losses(upgrades, connection))
    losses += [
        (change.table.name, f"older revisions in {change.table.name}: they have another key")
        for change in keys
        if change.is_history and holds_records(connection, change.table.schema, change.table.name)
    ]
    tables = {table for table, _ in losses}
    # What happens to a table happens to its history too: that is said once.
    return [text for table, text in losses if table.removesuffix("_history") not in tables - {table}]


def list_losses(operation: ops.MigrateOperation, connection: sa.Connection) -> Iterator[tuple[str, str]]:
    """(table, loss) of an autogenerated change."""
    for child in getattr(operation, "ops", []):
        match child:
            case ops.DropTableOp() if holds_records(connection, child.schema, child.table_name):
                yield child.table_name, f"table {child.table_name} dropped"
            case ops.DropColumnOp() if holds_records(connection, child.schema, child.table_name):
                yield child.table_name, f"column {child.table_name}.{child.column_name} dropped"
            case ops.AlterColumnOp() if child.modify_type is not None:
                was, is_ = (
                    kind.compile(connection.dialect).lower() if kind is not None else ""
                    for kind in (child.existing_type, child.modify_type)
                )
                if not is_wider(was, is_) and holds_records(connection, child.schema, child.table_name):
                    yield child.table_name, f"column {child.table_name}.{child.column_name} becomes {is_} (was {was})"
            case _:
                yield from list_losses(child, connection)


def holds_records(connection: sa.Connection, schema: str | None, table: str) -> bool:
    """Whether a table holds any record."""
    records = sa.exists().select_from(sa.table(table, schema=schema))
    return bool(connection.execute(sa.select(records)).scalar_one())
