"""Rejected records: gathered while a load runs, kept in the ledger when it ends."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from catalog.model.dataset import ForeignKey
from catalog.storage.dataset_tables import LINE, DatasetTables
from catalog.storage.ledger_tables import RejectedRecord
from ingest.cleaning.newest import note_order
from ingest.readers.record_writer import ParsedPart, show_text
from runtime.plain_text import keep_text
from runtime.postgres.copy import copy_file, driver_of
from runtime.postgres.sql_types import SqlQuery

RAW_BATCH_LINES = 10_000
REASONS_SHOWN = 20
REJECT_COLUMNS = "line, key, raw, reasons, candidate, order_value"

# One load's rejected records, on its own connection. `candidate` holds the values that Postgres still checks,
# `order_value` the one that says which of two records is newer.
REJECTS = sa.Table(
    "rejects",
    sa.MetaData(),
    sa.Column("line", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text),
    sa.Column("raw", sa.Text),
    sa.Column("reasons", JSONB, nullable=False),
    sa.Column("candidate", JSONB),
    sa.Column("order_value", JSONB),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True)
class ReasonCount:
    """One reason for which records were rejected: how many, and the first of them."""

    reason: str  # `property: rule`
    records: int
    line: int
    value: str | None
    message: str

    def __str__(self) -> str:
        shown = f"{self.value!r}, " if self.value is not None else ""
        return f"{self.records:,} × {self.reason} (line {self.line}: {shown}{self.message})"


def collect_rejects(connection: sa.Connection, files: Iterable[Path]) -> None:
    """Makes the load's table of rejected records, from the reader's and the engine's files."""
    connection.execute(sa.schema.CreateTable(REJECTS, if_not_exists=True))
    connection.execute(sa.text("TRUNCATE rejects"))
    for file in files:
        copy_file(connection, f"rejects ({REJECT_COLUMNS})", file)


def save_rejects(connection: sa.Connection, file: Path) -> None:
    """Writes the load's rejected records to a file that `collect_rejects` takes."""
    statement = f"COPY rejects ({REJECT_COLUMNS}) TO STDOUT (FORMAT csv)".encode()
    with file.open("wb") as target, driver_of(connection).cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            target.write(block)


def reject_orphans(
    connection: sa.Connection, tables: DatasetTables, staged: sa.Table, key: ForeignKey, parent: DatasetTables
) -> None:
    """Adds the reason `foreign_key` to every record, staged or rejected, whose parent does not exist."""
    columns = [tables.dataset.properties[name].column for name in key.properties]
    targets = [parent.current.c[parent.dataset.properties[name].column] for name in key.targets]
    shown = ",".join(key.properties)
    for source, line, values in (
        (staged, staged.c[LINE], [staged.c[column] for column in columns]),
        (
            REJECTS,
            REJECTS.c.line,
            [
                sa.cast(REJECTS.c.candidate[column].astext, target.type)
                for column, target in zip(columns, targets, strict=True)
            ],
        ),
    ):
        text = sa.func.concat_ws(",", *values)
        reason = sa.func.jsonb_build_array(
            sa.func.jsonb_build_object(
                "property", shown, "rule", "foreign_key", "value", text,
                "message", f"the record does not exist in {key.dataset}",
            )
        )  # fmt: skip
        orphan = sa.and_(
            *(value.is_not(None) for value in values),
            ~sa.exists().where(*(target == value for target, value in zip(targets, values, strict=True))),
        )
        keyed = key_of(tables, staged) if source is staged else sa.null()
        order = note_order(tables, staged) if source is staged else sa.cast(sa.null(), JSONB)
        add_reasons(connection, sa.select(line, keyed, order, reason).select_from(source).where(orphan))


def reject_repeats(
    connection: sa.Connection, tables: DatasetTables, staged: sa.Table, name: str, *, snapshot: bool
) -> None:
    """Adds the reason `unique` to records whose value another record holds; within a batch, the newest keeps it."""
    column = tables.dataset.properties[name].column
    twin = staged.alias("twin")
    conflicts = [sa.exists().where(twin.c[column] == staged.c[column], twin.c[LINE] > staged.c[LINE])]
    if not snapshot and staged is not tables.current:
        # What a snapshot lacks will be gone; in other modes it stays, and so does its value.
        replaced = staged.alias("replaced")
        same_key = [replaced.c[part] == tables.current.c[part] for part in tables.key()]
        conflicts.append(
            sa.exists().where(
                tables.current.c[column] == staged.c[column], ~sa.exists().where(*same_key).correlate(tables.current)
            )
        )
    reason = sa.func.jsonb_build_array(
        sa.func.jsonb_build_object(
            "property", name, "rule", "unique", "value", sa.cast(staged.c[column], sa.Text),
            "message", "another record has this value",
        )
    )  # fmt: skip
    found = sa.select(staged.c[LINE], key_of(tables, staged), note_order(tables, staged), reason)
    add_reasons(connection, found.where(sa.or_(*conflicts)))


def add_reasons(connection: sa.Connection, found: SqlQuery) -> None:
    """Adds (line, key, value, reasons) to the load's rejected ones, beside the reasons that a line has already."""
    statement = insert(REJECTS).from_select(["line", "key", "order_value", "reasons"], found)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["line"], set_={"reasons": REJECTS.c.reasons.op("||")(statement.excluded.reasons)}
        )
    )


def key_of(tables: DatasetTables, table: sa.FromClause) -> sa.ColumnElement[str]:
    """SQL for a record's key as text, its parts joined by commas."""
    return sa.func.concat_ws(",", *(sa.cast(table.c[column], sa.Text) for column in tables.key()))


def lines_without_raw(connection: sa.Connection) -> Iterator[int]:
    """The lines, ascending, of the rejected records whose raw text is still to be fetched."""
    last = -1
    while True:
        rows = connection.execute(
            sa.text("SELECT line FROM rejects WHERE raw IS NULL AND line > :last ORDER BY line LIMIT :most"),
            {"last": last, "most": RAW_BATCH_LINES},
        )
        lines = [row[0] for row in rows]
        yield from lines
        if len(lines) < RAW_BATCH_LINES:
            return
        last = lines[-1]


def fill_raw(connection: sa.Connection, found: Iterator[tuple[int, str]]) -> None:
    """Notes the raw text of rejected records, by line."""
    while batch := list(itertools.islice(found, RAW_BATCH_LINES)):
        connection.execute(
            sa.text(
                "UPDATE rejects SET raw = given.raw FROM jsonb_to_recordset(CAST(:rows AS jsonb))"
                " AS given (line bigint, raw text) WHERE rejects.line = given.line"
            ),
            {"rows": json.dumps([{"line": line, "raw": show_text(raw)} for line, raw in batch])},
        )


def keep_rejects(
    connection: sa.Connection, dataset_id: int, load_id: int, parts: Iterable[ParsedPart], *, withheld: bool = False
) -> None:
    """Writes the load's rejected records to the ledger, each with its part of the batch and its line there.

    One that lies there from an earlier load, open or dismissed, with the same raw text, is only seen again, and
    perhaps for other reasons; in a batch that is withheld nothing counts as seen yet.
    """
    table = RejectedRecord.__table__.fullname
    spans = [{"name": keep_text(part.name), "start": part.offset} for part in parts]
    facts = {"dataset_id": dataset_id, "load_id": load_id, "parts": json.dumps(spans)}
    seen_again = "old.last_seen" if withheld else "now()"
    connection.execute(
        sa.text(
            f"UPDATE {table} AS old SET last_seen = {seen_again}, reasons = rejects.reasons,"
            " key = coalesce(rejects.key, old.key), order_value = rejects.order_value FROM rejects"
            " WHERE old.dataset_id = :dataset_id AND old.state IN ('open', 'dismissed') AND old.load_id <> :load_id"
            " AND old.raw_sha256 = encode(sha256(convert_to(coalesce(rejects.raw, ''), 'UTF8')), 'hex')"
        ),
        {"dataset_id": dataset_id, "load_id": load_id},
    )
    connection.execute(
        sa.text(
            "WITH parts AS (SELECT name, start, lead(start) OVER (ORDER BY start) AS until"
            " FROM jsonb_to_recordset(CAST(:parts AS jsonb)) AS given (name text, start bigint))"
            f" INSERT INTO {table} (dataset_id, load_id, file, line, key, raw, raw_sha256, reasons, order_value)"
            " SELECT :dataset_id, :load_id, coalesce(parts.name, ''), line - coalesce(parts.start, 0), key,"
            " coalesce(raw, ''), encode(sha256(convert_to(coalesce(raw, ''), 'UTF8')), 'hex'), reasons, order_value"
            " FROM rejects LEFT JOIN parts ON line > start AND line <= coalesce(until, line)"
            f" WHERE NOT EXISTS (SELECT FROM {table} AS old WHERE old.dataset_id = :dataset_id"
            " AND old.state IN ('open', 'dismissed') AND old.load_id <> :load_id"
            " AND old.raw_sha256 = encode(sha256(convert_to(coalesce(rejects.raw, ''), 'UTF8')), 'hex'))"
            " ON CONFLICT (load_id, file, line) DO NOTHING"
        ),
        facts,
    )


def count_reasons(connection: sa.Connection, *, replayed: bool = False) -> tuple[ReasonCount, ...]:
    """How many of the load's rejected records broke each rule, most first, with the first of them as a sample.

    Of records that were `replayed` again, the line is the one that they first came from.
    """
    source = (
        "(SELECT origin_line AS line, reasons FROM rejects JOIN replayed USING (line))" if replayed else "rejects"
    )
    rows = connection.execute(
        sa.text(
            "SELECT coalesce(reason ->> 'property' || ': ', '') || (reason ->> 'rule'), count(*), min(line),"
            " (array_agg(reason ->> 'value' ORDER BY line))[1], (array_agg(reason ->> 'message' ORDER BY line))[1]"
            f" FROM {source} AS found, jsonb_array_elements(reasons) AS reason"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :most"
        ),
        {"most": REASONS_SHOWN},
    )
    return tuple(ReasonCount(*row) for row in rows)
