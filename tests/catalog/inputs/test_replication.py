"""The input of a dataset that follows a table by logical replication, as the contract says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.model.dataset import Deletions
from catalog.model.sources import BatchLimits, DatabaseSource, ReplicationSource
from runtime.errors import ContractError
from tests.catalog.inputs.test_inputs import read

DATABASE = (
    "type: postgresql, host: db.example.org, port: 5433, database: shop, schema: sales,"
    " customProperties: [{property: user, value: me}, {property: password, value: '${ERP_PASSWORD}'}]"
)
NAMES = "replication: {publication: decant, slot: decant_orders}"


def test_a_table_is_followed(tmp_path: Path) -> None:
    found = read(tmp_path, DATABASE, f"table: orders, mode: upsert, {NAMES}")
    assert (found.kind, found.mode, found.watch, found.file_format.format) == (
        "replication",
        "upsert",
        True,
        "ndjson",
    )
    assert found.deletions == Deletions(marked=True)
    database = DatabaseSource(
        "here",
        "postgresql+psycopg",
        None,
        "db.example.org",
        "5433",
        "shop",
        "me",
        "${ERP_PASSWORD}",
        "sales",
        "orders",
    )
    assert found.source == ReplicationSource(database, "decant", "decant_orders")
    assert found.source.address == "changes of sales.orders of here"


def test_every_key_has_its_place(tmp_path: Path) -> None:
    words = (
        "table: orders, mode: upsert, orderBy: updated, nullValues: ['-'], batch: {records: 5},"
        " deletes: {property: flag, equals: true}, replication: {publication: Of the Shop, slot: s_1, keepGb: 2.5}"
    )
    found = read(tmp_path, DATABASE, words)
    assert isinstance(found.source, ReplicationSource)
    assert (found.source.publication, found.source.slot, found.source.keep_gb) == ("Of the Shop", "s_1", 2.5)
    assert found.source.batch == BatchLimits(records=5)
    assert found.deletions == Deletions("flag", ("true",), marked=True)
    assert (found.order_by, found.null_values) == ("updated", ("-",))


@pytest.mark.parametrize(
    ("server", "words", "says"),
    [
        (DATABASE, f"table: orders, {NAMES}", "input.mode: 'snapshot' does not fit replication, which needs upsert"),
        (DATABASE, f"table: orders, mode: append, {NAMES}", "input.mode: 'append' does not fit replication"),
        (DATABASE, f"sql: SELECT 1, mode: upsert, {NAMES}", "input.sql: does not go with replication"),
        (DATABASE, f"mode: upsert, {NAMES}", "a database is read by table"),
        (DATABASE, f"table: orders, mode: upsert, incremental: {{property: updated}}, {NAMES}",
         "input.incremental: does not go with replication"),
        (DATABASE, f"table: orders, mode: upsert, watch: true, {NAMES}", "input.watch: does not apply to a database"),
        (DATABASE, f"table: orders, mode: upsert, start: latest, {NAMES}", "input.start: does not apply to a server"),
        (DATABASE, f"table: orders, mode: upsert, deletes: tombstones, sql: SELECT 1, {NAMES}", "input.sql"),
        (DATABASE, "table: orders, mode: upsert, replication: true", "input.replication: must be a mapping such as"),
        (DATABASE, "table: orders, mode: upsert, replication: {slot: a}", "publication: must be the name of a publ"),
        (DATABASE, "table: orders, mode: upsert, replication: {publication: 'a,b', slot: a}", "publication: must be"),
        (DATABASE, "table: orders, mode: upsert, replication: {publication: p}", "slot: must be the name of a slot"),
        (DATABASE, "table: orders, mode: upsert, replication: {publication: p, slot: Big}", "slot: must be the name"),
        (DATABASE, "table: orders, mode: upsert, replication: {publication: p, slot: s, keep: 1}",
         "input.replication.keep: unknown; known are publication, slot, keepGb"),
        (DATABASE, "table: orders, mode: upsert, replication: {publication: p, slot: s, keepGb: 0}",
         "keepGb: must be a number from"),
        (DATABASE, f"table: orders, mode: upsert, batch: 5, {NAMES}", "input.batch: must be a mapping of"),
        (DATABASE, "table: orders, mode: upsert, batch: {records: 5}", "input.batch: does not apply to a database"),
        (DATABASE.replace("'${ERP_PASSWORD}'", "hunter2"), f"table: orders, mode: upsert, {NAMES}",
         "must not contain a password"),
        ("type: mysql, host: h, port: 1, database: d", f"table: orders, mode: upsert, {NAMES}",
         "input.replication: needs a server of type postgresql, not mysql"),
        ("type: local, path: .", f"path: a.csv, {NAMES}", "input.replication: does not apply to a server of type"),
    ],
)  # fmt: skip
def test_what_replication_cannot_be_is_refused(tmp_path: Path, server: str, words: str, says: str) -> None:
    with pytest.raises(ContractError, match=says) as refused:
        read(tmp_path, server, words)
    assert "hunter2" not in str(refused.value)
