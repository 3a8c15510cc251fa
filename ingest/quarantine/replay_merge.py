"""Replay merge: how a replay is merged in the publishing transaction, and how what it replays is closed.

The temporary table `replayed` pairs each rejected record with its line in the replayed batch, and with the load
and line that it first came from.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalog.model.dataset import FileFormat
from catalog.model.load_request import Replay
from catalog.storage.dataset_tables import LINE, LOAD, REVISION, DatasetTables
from catalog.storage.ledger_tables import RejectedRecord
from ingest.cleaning.newest import compare, order_column
from ingest.landing.landed_batch import LandedBatch
from ingest.landing.unpacking import UnpackLimit
from ingest.ledger.running_load import RunningLoad
from ingest.quarantine.rejected_records import key_of
from ingest.quarantine.replay_batch import LatestBatch, find_latest_batch, rejects_file_format, takes_whole
from ingest.readers.record_writer import ParsedPart
from ingest.readers.replayed_rejects import RejectsReader
from runtime.plain_text import keep_text
from runtime.postgres.copy import copy_file
from runtime.postgres.sql_types import SqlExpression

REPLAYED = sa.Table(
    "replayed",
    sa.MetaData(),
    sa.Column("line", sa.BigInteger, primary_key=True, autoincrement=False),  # in the replayed batch
    sa.Column("reject_id", sa.BigInteger, nullable=False),
    sa.Column("load_id", sa.BigInteger, nullable=False),  # where the record first came from
    sa.Column("origin_line", sa.BigInteger, nullable=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True)
class ReplayPlan:
    """What is replayed: the whole batch of an earlier load, or rejected records listed in a file."""

    load_id: int | None
    origins: Path | None  # CSV: line, reject_id, load_id, origin_line


def write_origins(landed: LandedBatch, file: Path, limit: UnpackLimit) -> None:
    """Lists the rejected records of a batch, each with where it first came from."""
    reader = RejectsReader(rejects_file_format(FileFormat()), limit, file.parent)
    with file.open("w", newline="", encoding="utf-8") as target:
        write = csv.writer(target).writerow
        part: dict[str, Any] = {}
        for landed_part in landed.parts:
            for number, item in reader.lines(landed_part):
                if isinstance(item, dict):
                    part = item
                else:
                    write([number, item[0], part["load"], part["offset"] + item[1]])


def plan_replay(load: RunningLoad, landed: LandedBatch, limit: UnpackLimit) -> ReplayPlan | None:
    """The replayed records, where the load is a replay."""
    request = load.ticket.request
    if not isinstance(request, Replay):
        return None
    if request.load_id is not None:
        return ReplayPlan(request.load_id, None)
    origins = load.folder / "origins.csv"
    write_origins(landed, origins, limit)
    return ReplayPlan(None, origins)


def collect_replayed(
    connection: sa.Connection, dataset_id: int, replay_plan: ReplayPlan, parts: Iterable[ParsedPart]
) -> None:
    """Makes the table `replayed`."""
    connection.execute(sa.schema.CreateTable(REPLAYED, if_not_exists=True))
    connection.execute(sa.text("TRUNCATE replayed"))
    if replay_plan.origins is not None:
        copy_file(connection, "replayed", replay_plan.origins)
        return
    spans = [{"name": keep_text(part.name), "start": part.offset} for part in parts]
    connection.execute(
        sa.text(
            "INSERT INTO replayed SELECT r.line + p.start, r.id, r.load_id, r.line + p.start"
            " FROM decant.rejected_records AS r"
            " JOIN jsonb_to_recordset(CAST(:parts AS jsonb)) AS p (name text, start bigint) ON p.name = r.file"
            " WHERE r.dataset_id = :dataset_id AND r.load_id = :load_id AND r.state = 'open'"
            " ON CONFLICT DO NOTHING"
        ),
        {"parts": json.dumps(spans), "dataset_id": dataset_id, "load_id": replay_plan.load_id},
    )


def leave_newer(
    connection: sa.Connection, tables: DatasetTables, staged: sa.Table, dataset_id: int, replay_plan: ReplayPlan
) -> int:
    """How many staged records were taken out, since something newer speaks for their keys.

    That is a current record that a later load brought, or in a snapshot the latest batch, where it names the key in
    good order or not at all. Where `orderBy` decides between batches, it decides here, and loads only between equals.
    """
    latest = find_latest_batch(connection, dataset_id)
    open_now = RejectedRecord.__table__
    current = tables.current
    seen = seen_in(open_now, latest)
    if replay_plan.load_id is not None:
        origin: SqlExpression = sa.literal(replay_plan.load_id, sa.BigInteger)
        origin_line: SqlExpression = staged.c[LINE]
        effective = origin
        source: sa.FromClause = staged
        dismissed: sa.ColumnElement[bool] = sa.false()
    else:
        origin, origin_line = REPLAYED.c.load_id, REPLAYED.c.origin_line
        # What the latest batch brought again is as new as that.
        effective = sa.case((seen, sa.func.greatest(latest.load_id if latest else 0, origin)), else_=origin)
        source = staged.join(REPLAYED, REPLAYED.c.line == staged.c[LINE]).join(
            open_now, open_now.c.id == REPLAYED.c.reject_id
        )
        dismissed = open_now.c.state != "open"
    same_key = sa.and_(*(current.c[name] == staged.c[name] for name in tables.key()))
    newer = sa.or_(
        current.c[LOAD] > effective,
        sa.and_(
            current.c[LOAD] == effective,
            sa.or_(origin != effective, is_newer_line(tables, staged, origin_line)),
        ),
    )
    if (column := order_column(tables)) is not None:
        older, same = compare(tables, staged, column)
        newer = sa.or_(older, sa.and_(same, newer))
    kept = sa.exists().where(same_key, sa.true() if appends(tables) else newer)
    gone: sa.ColumnElement[bool] = sa.false()
    if takes_whole(tables.dataset) and latest is not None:
        gone = sa.and_(effective < latest.load_id, ~is_rejected_in(latest, tables, staged, dataset_id))
    old = sa.select(staged.c[LINE]).select_from(source).where(sa.or_(kept, gone, dismissed))
    result = connection.execute(
        sa.delete(staged).where(staged.c[LINE].in_(old)), execution_options={"preserve_rowcount": True}
    )
    return int(result.rowcount)


def is_rejected_in(
    latest: LatestBatch, tables: DatasetTables, staged: sa.Table, dataset_id: int
) -> sa.ColumnElement[bool]:
    """Whether the latest batch names the staged record's key, in a record that was rejected."""
    others = RejectedRecord.__table__.alias("others")
    return sa.exists().where(
        others.c.dataset_id == dataset_id,
        others.c.state == "open",
        seen_in(others, latest),
        others.c.key == key_of(tables, staged),
    )


def seen_in(rejects: sa.FromClause, latest: LatestBatch | None) -> sa.ColumnElement[bool]:
    """Whether a rejected record came in the latest batch, or came again there: loads of a dataset do not overlap."""
    if latest is None:
        return sa.false()
    again = sa.and_(rejects.c.load_id < latest.load_id, rejects.c.last_seen >= latest.started_at)
    return sa.or_(rejects.c.load_id == latest.load_id, again)


def appends(tables: DatasetTables) -> bool:
    """Whether a key's first record stays for ever."""
    return tables.dataset.input is not None and tables.dataset.input.mode == "append"


def is_newer_line(tables: DatasetTables, staged: sa.Table, origin_line: SqlExpression) -> sa.ColumnElement[bool]:
    """Whether the current record is newer than the staged one within one and the same batch."""
    later = tables.current.c[LINE] > origin_line
    order = tables.dataset.input.order_by if tables.dataset.input else None
    if order is None:
        return later
    column = tables.dataset.properties[order].column
    staged_value, current_value = staged.c[column], tables.current.c[column]
    return sa.or_(
        current_value > staged_value,
        sa.and_(current_value.is_not(None), staged_value.is_(None)),
        sa.and_(current_value.is_not_distinct_from(staged_value), later),
    )


def give_origins(connection: sa.Connection, tables: DatasetTables, load_id: int, revision: int) -> None:
    """Gives the records that a replay wrote the load and the line that they first came from."""
    current = tables.current
    connection.execute(
        sa.update(current)
        .where(current.c[REVISION] == revision, current.c[LOAD] == load_id, REPLAYED.c.line == current.c[LINE])
        .values({LOAD: REPLAYED.c.load_id, LINE: REPLAYED.c.origin_line})
    )


def settle_replayed(
    connection: sa.Connection, staged: sa.Table, load_id: int, deletions: sa.Table | None = None
) -> None:
    """Closes the rejected records that came through or came too late; those that failed again have new reasons.

    What came through is staged, or among the `deletions` that were applied.
    """
    parameters = {"by": f"load {load_id}"}
    lines = f'SELECT _line FROM "{staged.schema}"."{staged.name}"'
    if deletions is not None:
        lines += f" UNION ALL SELECT _line FROM {deletions.name}"
    mine = "r.id = replayed.reject_id AND r.state = 'open'"
    connection.execute(
        sa.text(
            "UPDATE decant.rejected_records AS r SET reasons = rejects.reasons, key = coalesce(rejects.key, r.key),"
            " order_value = rejects.order_value"
            f" FROM replayed JOIN rejects USING (line) WHERE {mine}"
        )
    )
    connection.execute(
        sa.text(
            "UPDATE decant.rejected_records AS r SET state = 'replayed', closed_at = now(), closed_by = :by"
            f" FROM replayed JOIN ({lines}) AS through ON through._line = replayed.line WHERE {mine}"
        ),
        parameters,
    )
    connection.execute(
        sa.text(
            "UPDATE decant.rejected_records AS r SET state = 'superseded', closed_at = now(), closed_by = :by"
            f" FROM replayed WHERE {mine} AND NOT EXISTS (SELECT FROM rejects WHERE rejects.line = replayed.line)"
        ),
        parameters,
    )
