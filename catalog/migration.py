"""The database's schema, brought to the contracts: Alembic scripts written, applied, checked for drift.

One branch of scripts for Decant's own schema and one for each product and major. Scripts of the shipped contracts
are committed in migrations/versions; those of other contracts go to HOME/migrations.
"""

from __future__ import annotations

import io
import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.dialects.postgresql import insert

from catalog.access import grant_access
from catalog.contract import Catalog
from catalog.database import make_engine, translate_errors
from catalog.errors import MigrationError
from catalog.models import SCHEMA, DatasetHead, Model
from catalog.settings import PROJECT_ROOT, Settings
from catalog.tables import STAGING_SCHEMA, build_tables

SCRIPTS = PROJECT_ROOT / "migrations"
SHIPPED_VERSIONS = SCRIPTS / "versions"
VERSION_TABLE = "alembic_version"
ADVISORY_LOCK = 0x6465_6361_6E74  # "decant": one migration at a time
STATEMENT_TIMEOUT_MS = 600_000


@dataclass(frozen=True)
class MigrationReport:
    """What a migration did: the scripts it wrote, and the branches that it moved."""

    written: list[Path]
    applied: list[str]


@dataclass(frozen=True)
class Branch:
    """The scripts of one schema: Decant's own, or a product's."""

    schema: str
    metadata: sa.MetaData
    title: str
    folder: Path
    depends_on: str | None


def find_branches(settings: Settings, catalog: Catalog) -> list[Branch]:
    """Decant's own branch first, then one for each product."""
    shipped = settings.contracts.resolve().is_relative_to(PROJECT_ROOT / "contracts")
    folder = SHIPPED_VERSIONS if shipped else (settings.home / "migrations").resolve()
    branches = [Branch(SCHEMA, Model.metadata, "Decant's own tables", SHIPPED_VERSIONS, None)]
    return branches + [
        Branch(
            product.schema,
            build_tables([product]).metadata,
            f"{product.id} {product.version}",
            folder,
            f"{SCHEMA}_0001",
        )
        for product in catalog.products.values()
    ]


def migrate(
    settings: Settings, url: str, catalog: Catalog, *, revise: bool | None = None, allow_loss: bool = False
) -> MigrationReport:
    """Applies every script for Decant and the catalogue's products.

    Scripts that are missing are written first: for contracts of the user's by default, for what ships with Decant
    only if `revise` is true. MigrationError where the schema does not fit the contracts in the end.
    """
    written: list[Path] = []
    with translate_errors(), lock_migrations(settings, url) as connection:
        config = make_config(settings, connection)
        before = current_revisions(connection)
        for branch in find_branches(settings, catalog):
            if find_scripts(config, branch):
                upgrade(config, branch)
            restore_indexes(connection, branch)
            may_write = branch.folder != SHIPPED_VERSIONS if revise is None else revise
            if may_write and find_differences(connection, branch):
                written.append(write_revision(config, branch, connection, allow_loss=allow_loss))
                upgrade(config, branch)
        require_agreement(settings, connection, catalog)
        grant_access(connection, catalog)
        register_datasets(connection, catalog)
        connection.commit()
        applied = sorted(current_revisions(connection) - before)
    return MigrationReport(written, applied)


def restore_indexes(connection: sa.Connection, branch: Branch) -> None:
    """Builds the indexes that a first load which was killed left away."""
    for table in branch.metadata.tables.values():
        name = connection.dialect.identifier_preparer.format_table(table)
        if branch.schema != SCHEMA:
            connection.execute(
                sa.text(f"SELECT {SCHEMA}.restore_indexes(to_regclass(:name)) WHERE to_regclass(:name) IS NOT NULL"),
                {"name": name},
            )
    connection.commit()


def plan_migration(settings: Settings, url: str, catalog: Catalog) -> list[str]:
    """What `migrate` would have to change, one line each; nothing is changed."""
    with translate_errors(), lock_migrations(settings, url) as connection:
        return describe_differences(settings, connection, catalog)


def describe_differences(settings: Settings, connection: sa.Connection, catalog: Catalog) -> list[str]:
    """Each difference between the database and the models and contracts, in a line."""
    return [
        f"{branch.schema}: {describe(difference)}"
        for branch in find_branches(settings, catalog)
        for difference in find_differences(connection, branch)
    ]


def require_agreement(settings: Settings, connection: sa.Connection, catalog: Catalog) -> None:
    """MigrationError unless database, models and contracts agree."""
    if lines := describe_differences(settings, connection, catalog):
        raise MigrationError(
            "The database does not fit the contracts; `decant migrate --revise` writes what is missing:\n  "
            + "\n  ".join(lines)
        )


@contextmanager
def lock_migrations(settings: Settings, url: str) -> Iterator[sa.Connection]:
    """A connection that holds the lock of migrations, with the schema of the ledger in place."""
    engine = make_engine(url)
    with engine.connect() as connection:
        for name, value in (("lock_timeout", settings.lock_timeout_ms), ("statement_timeout", STATEMENT_TIMEOUT_MS)):
            connection.execute(sa.select(sa.func.set_config(name, str(value), False)))
        connection.execute(sa.select(sa.func.pg_advisory_lock(ADVISORY_LOCK)))
        for schema in (SCHEMA, STAGING_SCHEMA):
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        connection.commit()
        try:
            yield connection
        finally:
            connection.rollback()
            connection.execute(sa.select(sa.func.pg_advisory_unlock(ADVISORY_LOCK)))
            connection.commit()


def make_config(settings: Settings, connection: sa.Connection) -> Config:
    """Alembic's configuration, made in code: there is no alembic.ini to keep in step."""
    home = (settings.home / "migrations").resolve()
    home.mkdir(parents=True, exist_ok=True)
    # Quiet: what was written and applied is reported in our own words.
    config = Config(stdout=io.StringIO(), cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    locations = os.pathsep.join([str(SHIPPED_VERSIONS), str(home)])
    config.set_main_option("version_locations", locations.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def find_scripts(config: Config, branch: Branch) -> list[Script]:
    """The scripts of a branch."""
    return [
        script
        for script in ScriptDirectory.from_config(config).walk_revisions()
        if branch.schema in script.branch_labels
    ]


def upgrade(config: Config, branch: Branch) -> None:
    """Applies the scripts of one branch."""
    config.attributes |= {"metadata": branch.metadata, "schema": branch.schema}
    try:
        command.upgrade(config, f"{branch.schema}@head")
    except CommandError as error:
        raise MigrationError(f"{error}. Are the scripts in HOME/migrations those that made this database?") from error


def write_revision(config: Config, branch: Branch, connection: sa.Connection, *, allow_loss: bool) -> Path:
    """The path of a new script that brings a schema from what it is to what the contract says.

    Alembic's own `revision` command wants every branch at its head first, also those of products that are not served
    here; so the script is rendered without it.
    """
    existing = find_scripts(config, branch)
    context = make_context(connection, branch)
    changes = produce_migrations(context, branch.metadata)
    upgrades, downgrades = changes.upgrade_ops, changes.downgrade_ops
    if upgrades is None or downgrades is None:
        raise MigrationError("Alembic found nothing to write.")
    if not allow_loss and (lost := list(find_losses(upgrades))):
        raise MigrationError(
            f"{branch.title} would lose data: {'; '.join(lost)}."
            " Add a new major version beside this one, or run again with --allow-data-loss."
        )
    if not existing:
        upgrades.ops.insert(0, ops.ExecuteSQLOp(f'CREATE SCHEMA IF NOT EXISTS "{branch.schema}"'))
    script = ScriptDirectory.from_config(config).generate_revision(
        f"{branch.schema}_{len(existing) + 1:04d}",
        branch.title,
        head=f"{branch.schema}@head" if existing else "base",
        branch_labels=None if existing else branch.schema,
        version_path=str(branch.folder),
        depends_on=None if existing else branch.depends_on,
        upgrades=render(upgrades, context),
        downgrades=render(downgrades, context),
    )
    if script is None:
        raise MigrationError("Alembic wrote no script.")
    return Path(script.path)


def render(operations: ops.UpgradeOps | ops.DowngradeOps, context: MigrationContext) -> str:
    """The operations as the body of a Python function."""
    return render_python_code(operations, migration_context=context)


def find_losses(operation: Any) -> Iterator[str]:
    """What an autogenerated change would throw away."""
    for child in getattr(operation, "ops", []):
        match child:
            case ops.DropTableOp():
                yield f"table {child.table_name} dropped"
            case ops.DropColumnOp():
                yield f"column {child.table_name}.{child.column_name} dropped"
            case ops.AlterColumnOp() if child.modify_type is not None:
                yield f"column {child.table_name}.{child.column_name} becomes {child.modify_type}"
            case _:
                yield from find_losses(child)


def only_schema(schema: str) -> Callable[[str | None, str, Any], bool]:
    """Alembic's filter for names: one schema, without its table of versions."""

    def include(name: str | None, kind: str, _parents: Any) -> bool:
        if kind == "schema":
            return name == schema
        return not (kind == "table" and name == VERSION_TABLE)

    return include


def find_differences(connection: sa.Connection, branch: Branch) -> list[Any]:
    """Alembic's list of differences between the database and a branch's metadata."""
    return list(compare_metadata(make_context(connection, branch), branch.metadata))


def make_context(connection: sa.Connection, branch: Branch) -> MigrationContext:
    """Alembic's view of one schema of the database."""
    return MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "include_name": only_schema(branch.schema),
            "compare_type": True,
            "target_metadata": branch.metadata,
        },
    )


def describe(difference: Any) -> str:
    """One of Alembic's differences in words."""
    if isinstance(difference, list):
        return "; ".join(describe(part) for part in difference)
    kind, *rest = difference
    names = [str(getattr(part, "name", part)) for part in rest if part is not None and not isinstance(part, dict)]
    return f"{kind.replace('_', ' ')} {' '.join(names)}"


def current_revisions(connection: sa.Connection) -> set[str]:
    """The revision of each branch that the database stands at."""
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    )
    return set(context.get_current_heads())


def register_datasets(connection: sa.Connection, catalog: Catalog) -> None:
    """Gives every dataset its head, or notes the contract that it now follows."""
    for dataset in catalog.datasets():
        product = catalog.product_of(dataset)
        facts = {"contract_version": product.version, "contract_sha256": product.sha256}
        statement = insert(DatasetHead).values(
            product=dataset.product, major=dataset.major, dataset=dataset.name, **facts
        )
        connection.execute(
            statement.on_conflict_do_update(index_elements=["product", "major", "dataset"], set_=facts)
        )
