"""Superseding: open rejected records are closed where a load brings their keys in good order.

The temporary table `corrected` holds the good records of a batch whose keys lie in quarantine.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from catalog.model.load_request import Replay
from catalog.storage.dataset_tables import LOAD, REVISION, DatasetTables
from catalog.storage.ledger_tables import RejectedRecord
from ingest.cleaning.engine import CleanBatch
from ingest.cleaning.newest import order_column, supersedes
from ingest.ledger.loads import Ticket
from ingest.ledger.running_load import RunningLoad
from ingest.quarantine.rejected_records import REJECTS, key_of
from runtime.postgres.copy import copy_file, driver_of

CONFIRMED = sa.Table(
    "corrected",
    sa.MetaData(),
    sa.Column("line", sa.BigInteger),
    sa.Column("key", sa.Text),
    sa.Column("value", sa.Text),  # by which it is newer than another, where one decides
    sa.Column("undated", sa.Boolean),  # a deletion without such a value: newer than all that came before it
    prefixes=["TEMPORARY"],
)


def supersede_corrected(
    connection: sa.Connection, ticket: Ticket, tables: DatasetTables, corrected: Path, outdated: list[int]
) -> None:
    """Closes open rejected records of earlier loads whose key this batch brings in good order, changed or not.

    What came too late itself, at the lines `outdated`, speaks for nothing; nor does what is older than the rejected
    record, by orderBy.
    """
    connection.execute(sa.schema.CreateTable(CONFIRMED, if_not_exists=True))
    connection.execute(sa.text("TRUNCATE corrected"))
    copy_file(connection, "corrected", corrected)
    records = RejectedRecord.__table__
    late = sa.literal(outdated, ARRAY(sa.BigInteger))
    good = ~sa.exists().where(REJECTS.c.line == CONFIRMED.c.line)
    value = sa.case((good, CONFIRMED.c.value))  # what Postgres refused is no value there
    connection.execute(
        sa.update(records)
        .where(records.c.dataset_id == ticket.dataset_id, records.c.state == "open")
        .where(records.c.load_id != ticket.load_id)
        .where(records.c.key == CONFIRMED.c.key, CONFIRMED.c.line != sa.all_(late))
        .where(good, sa.or_(CONFIRMED.c.undated, supersedes(tables, value, records, sa.true())))
        .values(state="superseded", closed_at=sa.func.now(), closed_by=f"load {ticket.load_id}")
    )


def supersede_written(connection: sa.Connection, ticket: Ticket, tables: DatasetTables, revision: int) -> None:
    """Closes open rejected records whose key a replay wrote from a later load than theirs, or newer by orderBy."""
    current = tables.current
    records = RejectedRecord.__table__
    column = order_column(tables)
    later = current.c[LOAD] > records.c.load_id
    newer = supersedes(tables, current.c[column], records, later) if column is not None else later
    connection.execute(
        sa.update(records)
        .where(records.c.dataset_id == ticket.dataset_id, records.c.state == "open")
        .where(current.c[REVISION] == revision, newer)
        .where(records.c.key == key_of(tables, current))
        .values(state="superseded", closed_at=sa.func.now(), closed_by=f"load {ticket.load_id}")
    )


def write_corrected(load: RunningLoad, clean: CleanBatch) -> Path | None:
    """The file of the good records whose keys lie in quarantine; None where none do, and for a replay."""
    ticket, folder = load.ticket, load.folder
    if isinstance(ticket.request, Replay):
        return None
    with load.engine.connect() as connection:
        if not list_open_keys(connection, ticket.dataset_id, ticket.load_id, folder / "open.csv"):
            return None
    clean.tables.write_corrected(folder / "corrected.csv", folder / "open.csv")
    return folder / "corrected.csv"


def list_open_keys(connection: sa.Connection, dataset_id: int, load_id: int, file: Path) -> bool:
    """Whether earlier loads left open rejected records with keys; these are then in the file, one a line."""
    statement = (
        "COPY (SELECT DISTINCT key FROM decant.rejected_records WHERE state = 'open' AND key IS NOT NULL"
        f" AND dataset_id = {int(dataset_id)} AND load_id <> {int(load_id)}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)"
    )
    with file.open("wb") as target, driver_of(connection).cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for block in copy:
            target.write(block)
    return file.stat().st_size > 0
