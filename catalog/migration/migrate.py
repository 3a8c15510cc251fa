"""Schema migration: writes and applies Alembic scripts for the contracts, and checks for drift.

One branch of scripts for Decant's own schema and one for each product and major. Scripts of the shipped contracts
are committed in migrations/versions; those of other contracts go to HOME/migrations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert

from catalog.migration.alembic_scripts import (
    OWN_BRANCH,
    STATEMENT_TIMEOUT_MS,
    explain_refusals,
    home_folder,
    make_branch,
    make_config,
    make_version_table,
    upgrade_database,
)
from catalog.migration.applied_contracts import ContractStep, find_steps, register_contract, rename_heads
from catalog.migration.grants import close_database, grant_ledger, grant_product
from catalog.migration.kept_scripts import keep_scripts, rebuild_scripts
from catalog.migration.known_scripts import KnownScripts, current_revisions
from catalog.migration.row_policies import check_predicates
from catalog.migration.search_indexes import match_searches
from catalog.migration.statements import QUOTES
from catalog.migration.stored_values import find_large_integers
from catalog.migration.table_changes import Branch, compare_schema, find_key_changes
from catalog.model.catalog import Catalog
from catalog.model.dataset import Product
from catalog.model.reserved_names import LOCK_TABLE
from catalog.storage.dataset_tables import STAGING_SCHEMA, build_tables
from catalog.storage.high_water import check_restored
from catalog.storage.ledger_tables import SCHEMA, DatasetHead, Load
from catalog.storage.newest import note_newest
from catalog.storage.product_roles import match_roles
from runtime.errors import MigrationError
from runtime.postgres.database import make_engine, translate_errors
from runtime.settings.settings import Settings

LOCK_ATTEMPTS = 3


@dataclass(frozen=True)
class MigrationReport:
    """What a migration did: the contracts that changed, the scripts it wrote, and the branches that it moved.

    Warnings are of what the tables hold and the contracts no longer allow.
    """

    steps: list[ContractStep]
    written: list[Path]
    applied: list[str]
    warnings: list[str]  # what the owner should know of


@dataclass(frozen=True)
class Run:
    """One run of migrations, and what it may do; it holds the lock of migrations."""

    scripts: KnownScripts
    connection: sa.Connection
    settings: Settings
    revise: bool | None
    allow_loss: bool

    def bring_up(self, branch: Branch) -> Path | None:
        """The path of the script that a branch lacked; its schema is what it should be afterwards."""
        return upgrade_database(
            self.scripts,
            branch,
            self.connection,
            self.settings,
            revise=self.revise,
            allow_loss=self.allow_loss,
        )

    def apply_own_scripts(self) -> None:
        """Applies Decant's own scripts, and commits them with what the logins may do.

        Before the schema is compared, which takes as long as a reader waits for a lock: what the scripts lock, such
        as the loads, would be locked meanwhile, and requests of running processes would fail.
        """
        if self.scripts.of(OWN_BRANCH):
            with explain_refusals(OWN_BRANCH.title, self.settings):
                self.scripts.upgrade(OWN_BRANCH)
            grant_ledger(self.connection)
            self.connection.commit()

    def bring_up_product(self, product: Product, steps: list[ContractStep]) -> Path | None:
        """The same for a product, of which it is noted that the database fits its contract now."""
        connection = self.connection
        branch = make_branch(self.settings, product)
        with explain_refusals(branch.title, self.settings):
            restore_indexes(connection, branch)
        rekeyed = {change.table.name for change in find_key_changes(connection, branch)}
        path = self.bring_up(branch)
        check_predicates(connection, product)
        match_searches(connection, product)
        if branch.folder == home_folder(self.settings):
            keep_scripts(connection, branch, [Path(script.path) for script in self.scripts.of(branch)])
        register(connection, product, steps, moved=product.schema in self.scripts.moved)
        empty_histories(connection, product, rekeyed)
        connection.commit()
        return path


def migrate(
    settings: Settings,
    url: str,
    catalog: Catalog,
    *,
    revise: bool | None = None,
    allow_loss: bool = False,
    rebuild: bool = False,
) -> MigrationReport:
    """Applies every script for Decant and the catalogue's products.

    Scripts that are missing are written first: for contracts of the user's by default, for what ships with Decant
    only if `revise` is true. With `rebuild`, the scripts that HOME/migrations lost are taken from the database.
    MigrationError where the schema does not fit the contracts in the end.
    """
    with translate_errors(), lock_migrations(settings, url) as connection:
        config = make_config(settings, connection)
        before = current_revisions(connection)
        # First: Alembic moves no branch while it cannot find the current script of another one.
        rebuilt = rebuild_scripts(connection, home_folder(settings)) if rebuild else []
        scripts = KnownScripts(config, connection)
        run = Run(scripts, connection, settings, revise, allow_loss)
        run.apply_own_scripts()
        written = [*rebuilt, run.bring_up(OWN_BRANCH)]
        if written[-1] is not None:
            grant_ledger(connection)
        connection.commit()
        upgraded = bool(scripts.moved)
        warnings = close_database(connection)
        connection.commit()
        steps = find_steps(connection, settings, catalog)
        require_versions(steps)
        for product in catalog.products.values():
            written.append(run.bring_up_product(product, [step for step in steps if step.product is product]))
            # Whole tables are read: only where the rules may have changed, with the contract or with Decant.
            if upgraded or any(step.product is product for step in steps):
                warnings += find_large_integers(connection, product)
        applied = sorted(current_revisions(connection) - before)
        if restored := check_restored(connection, settings, list(catalog.datasets()), "migrate"):
            warnings.append(restored.explain())
        # After all tables: a product's SQL may read those of others.
        warnings += match_roles(connection, catalog)
        connection.commit()
    return MigrationReport(steps, [path for path in written if path], applied, warnings)


def register(connection: sa.Connection, product: Product, steps: list[ContractStep], *, moved: bool) -> None:
    """Notes that the database fits the product's contract now, and opens its tables to those who need them."""
    # No script made it where a contract has no dataset yet.
    connection.execute(sa.schema.CreateSchema(product.schema, if_not_exists=True))
    grant_product(connection, product)
    for step in steps:
        rename_heads(connection, step)
    register_datasets(connection, product)
    if steps or moved:
        tables = build_tables([product])
        for dataset in product.datasets.values():
            if dataset.freshness_property is not None:
                note_newest(connection, tables.of(dataset))
    if moved:
        forget_digests(connection, product)
    register_contract(connection, product)


def require_versions(steps: list[ContractStep]) -> None:
    """MigrationError where a contract's version moved by less than its changes demand."""
    refused = [step for step in steps if step.problem]
    if refused:
        lines = [line for step in refused for line in step.lines()]
        raise MigrationError("Nothing was migrated:\n" + "\n".join(lines))


def restore_indexes(connection: sa.Connection, branch: Branch) -> None:
    """Builds the indexes that a first load which was killed left away."""
    connection.execute(
        sa.text(
            f"SELECT {SCHEMA}.restore_indexes(place)"
            " FROM (SELECT to_regclass(name) AS place FROM unnest(CAST(:names AS text[])) AS name) AS _tables"
            " WHERE place IS NOT NULL"
        ),
        {"names": [QUOTES.format_table(table) for table in branch.metadata.tables.values()]},
    )
    connection.commit()


def plan_migration(settings: Settings, url: str, catalog: Catalog) -> list[str]:
    """What `migrate` would have to change, one line each; nothing is changed."""
    with translate_errors(), lock_migrations(settings, url) as connection:
        lines = [line for step in find_steps(connection, settings, catalog) for line in step.lines()]
        for branch in [OWN_BRANCH, *(make_branch(settings, product) for product in catalog.products.values())]:
            comparison = compare_schema(connection, branch)
            if comparison.differences:
                lines += [f"{branch.schema}: {difference}" for difference in comparison.differences]
                lines += [f"{branch.schema}: would lose data: {loss}" for loss in comparison.plan().losses]
    return lines


@contextmanager
def lock_migrations(settings: Settings, url: str) -> Iterator[sa.Connection]:
    """A connection that holds the lock of migrations, with the schema of the ledger in place."""
    engine = make_engine(url)
    with engine.connect() as connection:
        for name, value in (("lock_timeout", settings.lock_timeout_ms), ("statement_timeout", STATEMENT_TIMEOUT_MS)):
            connection.execute(sa.select(sa.func.set_config(name, str(value), False)))
        with engine.connect() as holder:
            lock_out_others(holder, settings)
            for schema in (SCHEMA, STAGING_SCHEMA):
                connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            make_version_table(connection)
            connection.commit()
            try:
                yield connection
            finally:
                connection.rollback()


def lock_out_others(holder: sa.Connection, settings: Settings) -> None:
    """Locks the table that says that a migration runs, for as long as the connection lasts.

    A table, and no advisory lock: those are anybody's who knows their number.
    """
    for _ in range(LOCK_ATTEMPTS):
        try:
            holder.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
            holder.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{LOCK_TABLE} (never boolean)")
            holder.commit()
            break
        except sa.exc.DBAPIError as error:
            holder.rollback()
            # Two that make them at once: one of them finds them there, at its second look.
            if not isinstance(error.orig, psycopg.errors.UniqueViolation | psycopg.errors.DuplicateTable):
                raise
    with explain_refusals("Another migration is running", settings):
        holder.execute(sa.select(sa.func.set_config("lock_timeout", str(settings.lock_timeout_ms), False)))
        holder.exec_driver_sql(f"LOCK TABLE {SCHEMA}.{LOCK_TABLE} IN SHARE ROW EXCLUSIVE MODE")


def register_datasets(connection: sa.Connection, product: Product) -> None:
    """Gives every dataset its head, or notes the contract that it now follows; those that are gone are empty."""
    facts = {"contract_version": product.version, "contract_sha256": product.sha256}
    place = {"product": product.id, "major": product.major}
    if heads := [{**place, "dataset": name, **facts} for name in product.datasets]:
        statement = insert(DatasetHead).values(heads)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["product", "major", "dataset"], set_=facts)
        )
    connection.execute(
        sa.update(DatasetHead)
        .where(DatasetHead.product == product.id, DatasetHead.major == product.major)
        .where(DatasetHead.dataset.not_in(product.datasets), DatasetHead.record_count > 0)
        .values(record_count=0, oldest_revision=DatasetHead.revision)
    )


def empty_histories(connection: sa.Connection, product: Product, rekeyed: set[str]) -> None:
    """Notes of the datasets whose key changed that no older revision can be read any more."""
    names = [dataset.name for dataset in product.datasets.values() if dataset.table in rekeyed]
    connection.execute(
        sa.update(DatasetHead)
        .where(DatasetHead.product == product.id, DatasetHead.major == product.major)
        .where(DatasetHead.dataset.in_(names))
        .values(oldest_revision=DatasetHead.revision)
    )


def forget_digests(connection: sa.Connection, product: Product) -> None:
    """Lets the next load of each dataset run, whatever the latest one read: the tables are not what it left."""
    heads = sa.select(DatasetHead.id).where(DatasetHead.product == product.id, DatasetHead.major == product.major)
    latest = (
        sa.select(Load.id)
        .where(Load.dataset_id.in_(heads), Load.status == "published")
        .order_by(Load.dataset_id, Load.kind, Load.revision.desc())
        .ext(distinct_on(Load.dataset_id, Load.kind))
    )
    connection.execute(sa.update(Load).where(Load.id.in_(latest)).values(cleaning_sha256=None))
