"""Alembic's scripts as one run knows them: read once, followed as they are applied and as new ones are written.

Alembic's own commands read every script for every branch, and compare all of them with all that the database has.
With a branch for each product, the time of a run would grow with the square of their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from graphlib import TopologicalSorter

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import Script, ScriptDirectory
from alembic.util import to_tuple
from alembic.util.exc import CommandError

from catalog.migration.table_changes import Branch
from catalog.model.reserved_names import VERSION_TABLE
from catalog.storage.ledger_tables import SCHEMA
from runtime.errors import MigrationError

OWN_SCRIPT = re.compile(r"decant_\d+")  # those of products have a major version in their names


class KnownScripts:
    """The scripts of every branch, and which of them the database has."""

    def __init__(self, config: Config, connection: sa.Connection) -> None:
        self.config = config
        self.directory = ScriptDirectory.from_config(config)
        self.by_branch: dict[str, list[Script]] = {}
        self.branches: dict[str, set[str]] = {}  # of each script
        self.applied: set[str] = set()
        self.moved: set[str] = set()  # the branches of which this run applied scripts
        try:
            for script in self.lineage(self.directory.get_revisions(tuple(self.directory.get_heads()))):
                self.note(script)
            # One that the database has and the folders do not is an error, whatever branch it belongs to.
            current = current_revisions(connection)
            self.check_version(current)
            heads = self.directory.get_revisions(tuple(current))
            self.applied.update(script.revision for script in self.lineage(heads))
        except CommandError as error:
            raise explain_command(error) from error

    def check_version(self, current: Iterable[str]) -> None:
        """MigrationError where the database has a script of Decant's own that this version does not have."""
        own = (revision for revision in current if OWN_SCRIPT.fullmatch(revision))
        if newer := sorted(set(own).difference(self.branches)):
            raise MigrationError(
                f"The database was migrated by a newer version of Decant (its script {newer[-1]} is not known here):"
                " migrate with that version or a newer one."
            )

    def of(self, branch: Branch) -> list[Script]:
        """The scripts of a branch, each after those it follows."""
        return self.by_branch.get(branch.schema, [])

    def note(self, script: Script) -> None:
        """Adds a script to its branch, which is that of what it follows: Alembic labels no script added later."""
        followed = (self.branches[name] for name in to_tuple(script.down_revision, ()))
        self.branches[script.revision] = set(script.branch_labels).union(*followed)
        for branch in self.branches[script.revision]:
            self.by_branch.setdefault(branch, []).append(script)

    def find_head(self, branch: Branch) -> str:
        """The last script of a branch as Alembic takes it: by its name, or by what finds or refuses it."""
        heads = [script.revision for script in self.of(branch) if script.is_head]
        # By the label alone, Alembic looks through the heads of all branches.
        return heads[0] if len(heads) == 1 else f"{branch.schema}@head"

    def lineage(self, heads: Iterable[Script]) -> list[Script]:
        """The scripts that the database lacks of these and of all that they need, each after what it needs."""
        found: dict[str, Script] = {}
        order: TopologicalSorter[str] = TopologicalSorter()
        waiting = list(heads)
        while waiting:
            script = waiting.pop()
            if script.revision in found or script.revision in self.applied:
                continue
            found[script.revision] = script
            needed = [
                self.directory.get_revision(name)
                for name in (*to_tuple(script.down_revision, ()), *to_tuple(script.dependencies, ()))
            ]
            order.add(script.revision, *(parent.revision for parent in needed))
            waiting += needed
        return [found[name] for name in order.static_order() if name in found]

    def upgrade(self, branch: Branch) -> None:
        """Applies the scripts of one branch that the database lacks, and those of others that they need."""
        try:
            head = self.find_head(branch)
            missing = self.lineage(self.directory.get_revisions(head))
            if not missing:
                return
            self.config.attributes |= {"metadata": branch.metadata, "schema": branch.schema}
            steps = [MigrationStep.upgrade_from_script(self.directory.revision_map, script) for script in missing]
            with EnvironmentContext(
                self.config, self.directory, fn=lambda _heads, _context: steps, destination_rev=head
            ):
                self.directory.run_env()
        except CommandError as error:
            raise explain_command(error) from error
        for script in missing:
            self.applied.add(script.revision)
            self.moved |= self.branches[script.revision]


def explain_command(error: CommandError) -> MigrationError:
    """What Alembic has against the scripts, with what may be the matter."""
    return MigrationError(
        f"{error}. Check that the scripts in HOME/migrations belong to this database. If they are"
        f" lost, `decant migrate --rebuild-scripts` restores them from the database."
    )


def current_revisions(connection: sa.Connection) -> set[str]:
    """The database's revision of each branch."""
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": SCHEMA}
    )
    return set(context.get_current_heads())
