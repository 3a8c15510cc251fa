"""A batch of changed rows: the whole table at first, then what the slot holds, transaction by transaction.

Nothing is lost or doubled, since the position moves in the transaction that publishes, and the slot is advanced to a
position only when that is published: a load that is killed leaves both where they were.

The first load asks where the slot begins, and then reads the table in one snapshot. Whatever committed before that
place is in the snapshot, because the slot began when those transactions had ended, and the snapshot is taken later.
Whatever commits behind it comes out of the slot, in order. What is in both is written again, with its values at that
time and then those of each later change: after the last of them every row is as it is at the source.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import orjson
import sqlalchemy as sa

from catalog.model.dataset import Dataset
from ingest.errors import SourceError
from ingest.inputs.database.input import read_kinds
from ingest.inputs.raw_batch import InputContext, RawBatch
from ingest.inputs.replication.changes import ChangeSpool, RowWriter, write_lsn
from ingest.inputs.replication.pgoutput import Begin, Change, Commit, PgOutputError, Relation, Truncate, read_message
from ingest.inputs.replication.position import (
    ANEW,
    ReplicationPosition,
    check_kept,
    check_position,
    check_slot,
    name_table,
    read_position,
)
from ingest.inputs.replication.source import ReplicationOrigin, open_origin
from ingest.inputs.replication.table import Table, check_table, key_columns, source_of
from ingest.inputs.stream.lines import make_batch, put_mark
from ingest.inputs.stream.messages import StreamGapError


@contextmanager
def open_replication_batch(context: InputContext) -> Iterator[RawBatch]:
    """The table, or its changes that wait up to the batch's limits, each on a line of its own."""
    source = source_of(context.source)
    with open_origin(context) as origin, context.open_folder() as folder:
        found = origin.find_slot()
        check_slot(source, found)
        table = origin.find_table()
        check_table(context.dataset, table)
        writer = RowWriter(key_columns(context.dataset), read_kinds(context.dataset), table.types)
        kept = read_position(context.state, source)
        notes: list[str] = []
        with closing(ChangeSpool(folder, table.address)) as spool:
            if kept is None:
                check_kept(source, found)
                reached = ReplicationPosition(source.slot, found.system, name_table(source), found.confirmed)
                notes = read_snapshot(context, origin, spool, writer, table, reached.lsn)
                more = found.end > reached.lsn
            else:
                check_position(kept, found)
                if found.confirmed < kept.lsn:
                    origin.advance(kept.lsn)
                    found = origin.find_slot()
                check_kept(source, found)
                lsn, more = read_changes(origin, spool, writer, table, max(found.end, kept.lsn))
                reached = replace(kept, system=found.system or kept.system, lsn=max(lsn, kept.lsn))
            yield make_batch(source.address, spool, reached.note, notes, more=more)


def read_changes(
    origin: ReplicationOrigin, spool: ChangeSpool, writer: RowWriter, table: Table, end: int
) -> tuple[int, bool]:
    """Reads whole transactions into the spool; where in the log the batch ends, and whether more waits behind it."""
    limits = origin.source.batch
    deadline = time.monotonic() + limits.seconds
    relations: dict[int, Relation] = {}
    commit = reached = messages = 0
    with origin.peek(end, limits.records) as peeked:
        for data in peeked:
            messages += 1
            match parse(data, table):
                case Relation() as relation:
                    relations[relation.oid] = relation
                case Begin(lsn=lsn):
                    commit = lsn
                case Change() as change if is_table(relations[change.relation], table):
                    for line in writer.write_change(change, relations[change.relation]):
                        spool.take(line, commit)
                case Truncate(relations=emptied) if any(is_table(relations[oid], table) for oid in emptied):
                    raise StreamGapError(
                        f"{table.address} was truncated at {write_lsn(commit)}: its rows are not named. {ANEW}"
                    )
                case Commit(end=lsn):
                    reached = lsn
                    spool.end_transaction(reached)
                    if spool.size >= limits.bytes or time.monotonic() >= deadline:
                        spool.end_part(reached)
                        return reached, True
    spool.end_part(reached)
    if messages >= limits.records:
        return reached, reached < end
    # All was read: the log up to there has nothing else for this table.
    return max(reached, end), False


def parse(data: bytes, table: Table) -> object:
    """A message; SourceError where it is none."""
    try:
        return read_message(data)
    except PgOutputError as error:
        raise SourceError(f"The changes of {table.address} cannot be read: {error}.") from None


def is_table(relation: Relation, table: Table) -> bool:
    """Whether it is the table that the dataset follows; a publication may have others."""
    return (relation.schema, relation.name) == (table.schema, table.name)


def read_snapshot(
    context: InputContext, origin: ReplicationOrigin, spool: ChangeSpool, writer: RowWriter, table: Table, lsn: int
) -> list[str]:
    """Reads the whole table into the spool, behind deletions of the keys that the dataset has; what is worth a note.

    So a table that is read anew leaves no record of a row that was deleted while nobody looked.
    """
    notes = write_known_keys(context, spool)
    spool.name_part(f"{table.address}@{write_lsn(lsn)}-known-keys")
    with closing(origin.read_rows(table)) as rows:
        for row in rows:
            spool.take(writer.write_row(table.columns, row), lsn)
    spool.name_part(f"{table.address}@{write_lsn(lsn)}-snapshot")
    return notes


def write_known_keys(context: InputContext, spool: ChangeSpool) -> list[str]:
    """Writes a deletion of each key that the dataset has; a note where that cannot be said in raw columns."""
    dataset = context.dataset
    current = context.tables.of(dataset).current
    columns = plain_key(dataset)
    with context.engine.connect() as connection:
        if columns is None:
            known = connection.execute(sa.select(sa.literal(1)).select_from(current).limit(1)).first()
            said = "the key is derived, so records of rows that were deleted before stay: erase or reload them"
            return [] if known is None else [said]
        pairs = [part for name, column in columns.items() for part in (sa.literal(column), current.c[name])]
        query = sa.select(sa.cast(sa.func.json_build_object(*pairs), sa.Text))
        streaming = connection.execution_options(stream_results=True, max_row_buffer=1_000)
        for text in streaming.scalars(query):
            spool.take(put_mark(orjson.dumps(orjson.loads(text))), 0)
    return []


def plain_key(dataset: Dataset) -> dict[str, str] | None:
    """The raw column of each column of the key; None where one is made of something else."""
    key = {name: dataset.properties[name] for name in dataset.key}
    if any(prop.transform is not None or len(prop.raw_columns) != 1 for prop in key.values()):
        return None
    return {prop.column: prop.raw_columns[0] for prop in key.values()}
