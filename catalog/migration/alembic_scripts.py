"""Alembic's scripts: one branch for Decant's own schema and one for each product and major.

Scripts of the shipped contracts are committed in migrations/versions; those of other contracts go to HOME/migrations.
"""

from __future__ import annotations

import io
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic.autogenerate import render_python_code
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from catalog.migration.known_scripts import KnownScripts
from catalog.migration.table_changes import Branch, Comparison, compare_schema
from catalog.model.dataset import Product
from catalog.model.reserved_names import VERSION_TABLE
from catalog.storage.access_tables import ApiKey
from catalog.storage.dataset_tables import build_tables
from catalog.storage.ledger_tables import SCHEMA
from runtime.errors import MigrationError
from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings
from runtime.shipped import IN_CHECKOUT, SCRIPTS, SHIPPED_CONTRACTS, SHIPPED_VERSIONS

STATEMENT_TIMEOUT_MS = 600_000
OWN_BRANCH = Branch(SCHEMA, ApiKey.metadata, "Decant's own tables", SHIPPED_VERSIONS, None)


def home_folder(settings: Settings) -> Path:
    """Where the scripts of users' contracts lie."""
    return (settings.home / "migrations").resolve()


def make_branch(settings: Settings, product: Product) -> Branch:
    """The branch of a product."""
    shipped = settings.contracts.resolve().is_relative_to(SHIPPED_CONTRACTS)
    folder = SHIPPED_VERSIONS if shipped else home_folder(settings)
    metadata = build_tables([product]).metadata
    return Branch(product.schema, metadata, f"{product.id} {product.version}", folder, f"{SCHEMA}_0001")


def upgrade_database(
    scripts: KnownScripts,
    branch: Branch,
    connection: sa.Connection,
    settings: Settings,
    *,
    revise: bool | None,
    allow_loss: bool,
) -> Path | None:
    """Applies a branch's scripts; the path of the one that was written first, where one was missing.

    MigrationError unless the database agrees with the models and the contract in the end.
    """
    path = None
    with explain_refusals(branch.title, settings):
        if scripts.of(branch):
            scripts.upgrade(branch)
        comparison = compare_schema(connection, branch)
        may_write = branch.folder != SHIPPED_VERSIONS if revise is None else revise
        if comparison.differences and may_write:
            require_writable(branch)
            path = write_revision(scripts, branch, comparison, allow_loss=allow_loss)
            try:
                scripts.upgrade(branch)
            except BaseException:
                # Whatever Postgres refused once it would refuse again, before any better script had its turn.
                path.unlink(missing_ok=True)
                raise
            comparison = compare_schema(connection, branch)
    require_agreement(branch, comparison.differences)
    return path


def require_writable(branch: Branch) -> None:
    """MigrationError where the branch's scripts came with an installed Decant: its next version replaces them."""
    if branch.folder == SHIPPED_VERSIONS and not IN_CHECKOUT:
        raise MigrationError(
            f"{branch.title}: scripts of shipped contracts are only written in a checkout of Decant."
            f" Copy the contract to your own folder, and set DECANT_CONTRACTS to it."
        )


def require_agreement(branch: Branch, differences: list[str]) -> None:
    """MigrationError where the database differs from the models or the contract."""
    if differences:
        raise MigrationError(
            "The database does not fit the contracts; `decant migrate --revise` writes what is missing:\n"
            + "\n".join(f"  {branch.schema}: {line}" for line in differences)
        )


@contextmanager
def explain_refusals(title: str, settings: Settings) -> Iterator[None]:
    """Turns what Postgres has against a migration into a MigrationError that says what to do."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        reason = error.orig.diag.message_primary if isinstance(error.orig, psycopg.Error) else None
        match error.orig:
            case psycopg.errors.LockNotAvailable():
                message = (
                    f"its tables were locked for {settings.lock_timeout_ms / 1000:g} s. Retry when no load"
                    f" runs, or set DECANT_LOCK_TIMEOUT_MS higher"
                )
            case psycopg.errors.QueryCanceled():
                message = f"a statement ran for more than {STATEMENT_TIMEOUT_MS // 60_000} minutes"
            case psycopg.errors.DataError() | psycopg.errors.IntegrityError():
                message = (
                    f"its records violate the contract: {reason}. Correct or delete them first, or write the"
                    f" new major version as"
                    " a second contract file beside this one"
                )
            case psycopg.errors.DependentObjectsStillExist() | psycopg.errors.FeatureNotSupported():
                message = (
                    f"{reason}. Drop what was added to its tables beside Decant (views, triggers, publications), and"
                    f" make it again afterwards"
                )
            case _:
                raise
        raise MigrationError(f"{title}: {message}. No change was made.") from error


def make_config(settings: Settings, connection: sa.Connection) -> Config:
    """Alembic's configuration, made in code: there is no alembic.ini to keep in step."""
    home = home_folder(settings)
    make_private_folder(home)
    # Quiet: what was written and applied is reported in our own words.
    config = Config(stdout=io.StringIO(), cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    locations = os.pathsep.join([str(SHIPPED_VERSIONS), str(home)])
    config.set_main_option("version_locations", locations.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def make_version_table(connection: sa.Connection) -> None:
    """Makes Alembic's own table where it is missing, for names of any length: its default cuts off at 32."""
    name = f"{SCHEMA}.{VERSION_TABLE}"
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {name} (version_num text CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY)"
    )
    wide = "SELECT atttypid = 'text'::regtype FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum = 1"
    if not connection.execute(sa.text(wide), {"name": name}).scalar():
        connection.exec_driver_sql(f"ALTER TABLE {name} ALTER COLUMN version_num TYPE text")


def write_revision(scripts: KnownScripts, branch: Branch, comparison: Comparison, *, allow_loss: bool) -> Path:
    """The path of a new script that brings a schema from what it is to what the contract says.

    Alembic's own `revision` command wants every branch at its head first, also those of products that are not served
    here; so the script is rendered without it.
    """
    existing = scripts.of(branch)
    plan = comparison.plan()
    if not allow_loss and plan.losses:
        raise MigrationError(
            f"{branch.title} would lose data: {'; '.join(plan.losses)}."
            " Add a new major version beside this one, or run again with --allow-data-loss."
        )
    if not existing:
        plan.upgrades.ops.insert(0, ops.ExecuteSQLOp(f'CREATE SCHEMA IF NOT EXISTS "{branch.schema}"'))
    script = scripts.directory.generate_revision(
        f"{branch.schema}_{len(existing) + 1:04d}",
        branch.title,
        head=scripts.find_head(branch) if existing else "base",
        branch_labels=None if existing else branch.schema,
        version_path=str(branch.folder),
        depends_on=None if existing else branch.depends_on,
        upgrades=render(plan.upgrades, comparison.context),
        downgrades=render(plan.downgrades, comparison.context),
    )
    if script is None:
        raise MigrationError("Alembic did not write a script.")
    scripts.note(script)
    return Path(script.path)


def render(operations: ops.UpgradeOps | ops.DowngradeOps, context: MigrationContext) -> str:
    """The operations as the body of a Python function."""
    return render_python_code(operations, migration_context=context)
