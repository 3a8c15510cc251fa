"""A migration from the version before locks what others read as shortly as it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from catalog.contract.load import load_catalog
from catalog.migration.migrate import migrate
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from runtime.settings.settings import load_settings
from tests.support.deployment import open_stack
from tests.support.lab import PEOPLE

LOCKED = """
SELECT FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = 'decant.loads'::regclass
"""


def test_no_table_of_the_ledger_is_locked_while_the_schema_is_compared(
    server: EmbeddedPostgres,
    previous: Path,
    tmp_path: Path,
) -> None:
    with open_stack(tmp_path, server.binaries, PEOPLE, {}) as stack:
        stack.run("migrate", code=previous)
        url = stack.environment("migrate")["DECANT_DATABASE_URL"]
        settings = load_settings(home=stack.home, contracts=tmp_path / "contracts", data=tmp_path / "data")
        meanwhile: list[str] = []
        with psycopg.connect(url, autocommit=True) as watcher:

            def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
                if watcher.execute(LOCKED.encode()).rowcount:
                    meanwhile.append(statement)

            sa.event.listen(sa.Engine, "before_cursor_execute", note)
            try:
                migrate(settings, url, load_catalog(settings))
            finally:
                sa.event.remove(sa.Engine, "before_cursor_execute", note)
        # The scripts lock it, and what they do is all that is done until it is open again.
        assert any("VALIDATE CONSTRAINT" in statement for statement in meanwhile)
        assert [statement for statement in meanwhile if "pg_catalog.pg_" in statement] == []
