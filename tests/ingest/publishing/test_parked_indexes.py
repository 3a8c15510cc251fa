"""A first load builds its indexes at the end; whatever happens to it, they come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from catalog.storage.dataset_tables import build_tables
from ingest.publishing.staging import park_indexes
from runtime.postgres.database import make_engine
from tests.support.lab import PEOPLE, Lab

INDEXED = PEOPLE.replace(
    "logicalType: date}", "logicalType: date, customProperties: [{property: indexed, value: true}]}"
)
GOOD = "id,name,age,born\n1,Ann,30,\n"


def indexes(lab: Lab) -> set[str]:
    return {row[0] for row in lab.rows("SELECT indexname FROM pg_indexes WHERE tablename = 'people'")}


@pytest.fixture
def indexed(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(INDEXED)


def park(lab: Lab) -> None:
    tables = build_tables(lab.catalog.products.values())
    park_indexes(make_engine(lab.urls.ingest), tables.of(lab.dataset("people.people")))


def test_a_first_load_leaves_every_index_in_place(indexed: Lab) -> None:
    before = indexes(indexed)
    assert "ix_people_born" in before
    assert indexed.ingest("people.people", GOOD).status == "published"
    assert indexes(indexed) == before


@pytest.mark.slow
def test_after_a_first_load_that_failed_the_next_one_or_a_migration_brings_them_back(indexed: Lab) -> None:
    before = indexes(indexed)
    park(indexed)
    assert indexes(indexed) == {"pk_people"}
    indexed.migrate()
    assert indexes(indexed) == before
    park(indexed)
    indexed.ingest("people.people", "id,name,age,born\n")
    assert indexed.ingest("people.people", GOOD).status == "published"
    assert indexes(indexed) == before


def test_a_table_that_holds_records_keeps_its_indexes(indexed: Lab) -> None:
    indexed.ingest("people.people", GOOD)
    before = indexes(indexed)
    park(indexed)
    assert indexes(indexed) == before


def test_only_tables_of_datasets_can_be_parked_and_only_by_ingestion(indexed: Lab) -> None:
    statement = sa.text("SELECT decant.park_indexes('decant.loads'::regclass)")
    with (
        make_engine(indexed.urls.ingest).connect() as connection,
        pytest.raises(sa.exc.DBAPIError, match="no table of"),
    ):
        connection.execute(statement)
    with make_engine(indexed.urls.read).connect() as connection, pytest.raises(sa.exc.ProgrammingError):
        connection.execute(statement)
