"""A database that this version and a larger contract expanded: what is locked meanwhile, and who goes on with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from catalog.contract.load import load_catalog
from catalog.migration.migrate import migrate
from runtime.postgres.embedded_postgres import EmbeddedPostgres
from runtime.settings.settings import load_settings
from tests.support.compose import API
from tests.support.deployment import Stack, open_stack
from tests.support.upgrade import ASKING, CONTRACT, EXPANDED, READINGS, make_key, people

LOCKED = """
SELECT FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = 'decant.loads'::regclass
"""


@pytest.fixture(scope="module")
def stack(server: EmbeddedPostgres, previous: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A database that the version before migrated."""
    folder = tmp_path_factory.mktemp("stack")
    with open_stack(folder, server.binaries, CONTRACT, {"people.csv": people(0)}) as made:
        made.run("migrate", code=previous)
        yield made


@pytest.fixture(scope="module")
def while_locked(stack: Stack) -> list[str]:
    """The statements of the expansion during which no other could read loads."""
    (stack.folder / "contracts" / "contract.odcs.yaml").write_text(EXPANDED)
    settings = load_settings(home=stack.home, contracts=stack.folder / "contracts", data=stack.folder / "data")
    url = stack.environment("migrate")["DECANT_DATABASE_URL"]
    found: list[str] = []
    with psycopg.connect(url, autocommit=True) as watcher:

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if watcher.execute(LOCKED.encode()).rowcount:
                found.append(statement)

        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            migrate(settings, url, load_catalog(settings))
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
    return found


@pytest.mark.slow
def test_no_table_of_the_ledger_is_locked_while_the_schema_is_compared(while_locked: list[str]) -> None:
    # The scripts lock it, and what they do is all that is done until it is open again.
    assert any("VALIDATE CONSTRAINT" in statement for statement in while_locked)
    assert [statement for statement in while_locked if "pg_catalog.pg_" in statement] == []


@pytest.mark.slow
@pytest.mark.usefixtures("while_locked")
def test_the_version_before_loads_and_serves_an_expanded_database(stack: Stack, previous: Path) -> None:
    stack.run("worker", "ingest", code=previous)
    stack.start(API[0], code=previous)
    headers = make_key(stack, previous)
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.ports[API[0]]}", headers=headers, timeout=60) as client:
        for ask in ASKING.values():
            ask(client, 0)
        event = client.post(f"{READINGS}/events", json={"id": 1, "value": 0.5})
        assert event.status_code == httpx.codes.ACCEPTED, event.text
