"""Migration scripts of users' contracts, kept in the database that they made: a lost folder can be written again.

Only the owner's login may write the table: its content is run as Python by the next migration.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.migration.table_changes import Branch
from catalog.storage.high_water import replace_file
from catalog.storage.installation_tables import AppliedScript
from runtime.errors import MigrationError


def keep_scripts(connection: sa.Connection, branch: Branch, paths: Iterable[Path]) -> None:
    """Copies the branch's scripts into the database, those that are there already too: a script may be mended."""
    for path in sorted(path for path in paths if path.parent == branch.folder):
        facts = {"branch": branch.schema, "source": path.read_text(encoding="utf-8")}
        statement = insert(AppliedScript).values(name=path.name, **facts)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"],
                set_=facts | {"applied_at": sa.func.now()},
                where=AppliedScript.source != statement.excluded.source,
            )
        )


def rebuild_scripts(connection: sa.Connection, folder: Path) -> list[Path]:
    """The scripts that were written again because the folder lacked them; those that it has stay as they are."""
    written: list[Path] = []
    table = f"{AppliedScript.metadata.schema}.{AppliedScript.__tablename__}"
    if connection.scalar(sa.select(sa.func.to_regclass(table))) is None:
        return written
    for row in connection.execute(sa.select(AppliedScript.name, AppliedScript.source).order_by(AppliedScript.name)):
        path = folder / row.name
        if path.name != row.name or path.parent != folder:
            raise MigrationError(f"The database has a script named {row.name!r}, which is not a valid file name.")
        if not path.exists():
            replace_file(path, row.source)
            written.append(path)
    return written
