"""Databases of tests: one that is cloned from a contract with the same tables is as one that was migrated alone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from catalog.migration.migrate import plan_migration
from tests.support.databases import Databases
from tests.support.lab import PEOPLE, Lab

# No other test has this version, so that no template has these tables before.
PLAIN = PEOPLE.replace("version: 1.0.0", "version: 1.7.0")
# The same tables, and what a migration makes besides: an index of searches, and another text.
SEARCHED = PLAIN.replace("people.csv", "others.csv").replace(
    "{maxLength: 20}}", "{maxLength: 20}, customProperties: [{property: searchable, value: true}]}"
)
WIDER = PLAIN.replace("{name: age, logicalType: integer,", "{name: age, logicalType: number,")
# What the database says of itself, without names of databases and times.
FACTS = (
    "SELECT table_schema, table_name, column_name, ordinal_position, data_type, is_nullable, column_default"
    " FROM information_schema.columns WHERE table_schema IN ('people_v1', 'decant') ORDER BY 1, 2, 4",
    "SELECT schemaname, indexname, indexdef FROM pg_indexes"
    " WHERE schemaname IN ('people_v1', 'decant') ORDER BY 1, 2",
    "SELECT n.nspname, c.relname, c.relacl::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname IN ('people_v1', 'decant') AND c.relkind IN ('r', 'S', 'v') ORDER BY 1, 2",
    "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname IN ('people_v1', 'decant') ORDER BY 1",
    "SELECT product, major, version, sha256, source FROM decant.contracts",
    "SELECT id, product, major, dataset, revision, record_count, contract_version, contract_sha256"
    " FROM decant.datasets",
    "SELECT version_num FROM decant.alembic_version ORDER BY 1",
)


def read_facts(lab: Lab) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(lab.urls.owner) as connection:
        return [connection.execute(query.encode()).fetchall() for query in FACTS]


def test_a_clone_of_the_same_tables_is_as_a_database_that_was_migrated(tmp_path: Path, databases: Databases) -> None:
    with ExitStack() as stack:
        # What is asked for again becomes a template.
        for folder in ("first", "again"):
            stack.enter_context(databases.labs(tmp_path / folder))(PLAIN)
        known = len(databases.by_tables)
        clone = stack.enter_context(databases.labs(tmp_path / "clone"))(SEARCHED)
        assert len(databases.by_tables) == known
        name = databases.create()
        alone = Lab.build(tmp_path / "alone", databases.urls(name), SEARCHED)
        alone.migrate()
        facts = read_facts(clone)
        assert facts == read_facts(alone)
        assert all(facts)
        assert any("gin" in row[2] for row in facts[1] if row[0] == "people_v1")
        assert plan_migration(clone.settings, clone.urls.owner, clone.catalog) == []
        databases.drop(name)


def test_other_tables_are_migrated_anew(tmp_path: Path, databases: Databases) -> None:
    with ExitStack() as stack:
        known = len(databases.by_tables)
        for folder in ("first", "again"):
            lab = stack.enter_context(databases.labs(tmp_path / folder))(WIDER)
        assert len(databases.by_tables) == known + 1
        assert plan_migration(lab.settings, lab.urls.owner, lab.catalog) == []
