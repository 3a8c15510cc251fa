"""Replays: of rejected records, of a whole raw batch, and forced publication of a withheld one.

A replay is an upsert that leaves alone whatever is newer than what it pours. A record that comes through keeps its
place: `_load` and `_line` say which load brought it and where, however often it was replayed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset, FileFormat, file_format_of
from catalog.model.load_request import LoadRequest, PublishWithheld, Replay
from catalog.model.reject_choice import EVERYTHING
from catalog.storage.chosen_rejects import bind_choice, write_condition
from catalog.storage.ledger_tables import DatasetHead, Load, RejectedRecord
from ingest.cleaning.plan import reads_json
from ingest.errors import SourceError
from ingest.landing.raw import RawBatch, RawPart
from ingest.ledger.landed_note import LandedNote
from ingest.ledger.running_load import RunningLoad
from ingest.readers.replayed_rejects import FORMAT
from runtime.plain_text import map_texts, restore_text
from runtime.postgres.sql_types import SqlRow

BATCH_ROWS = 2_000
REPLACED = "\N{REPLACEMENT CHARACTER}"
LOST = "is no longer stored byte by byte; replay its whole batch with `replay --load {load}`"

# The open rejected records with the part of the batch that each came in; what came last, or came again last, is the
# newest. A malformed one's text may not be all that there was.
FIND_OPEN = f"""
SELECT r.id, r.load_id, r.file, r.line, r.raw, p.columns, coalesce(p."offset", 0) AS "offset",
       r.reasons @> '[{{"rule": "malformed"}}]' AS malformed,
       r.reasons -> 0 ->> 'message' LIKE 'the record is longer than%' AS cut_off
FROM decant.rejected_records AS r
JOIN decant.loads AS l ON l.id = r.load_id
LEFT JOIN LATERAL jsonb_to_recordset(l.parts) AS p (name text, "offset" bigint, columns jsonb) ON p.name = r.file
WHERE r.dataset_id = :dataset_id AND r.state = 'open' AND r.load_id <= :newest AND {write_condition(":{}")}
ORDER BY r.last_seen, r.load_id, p."offset", r.line, r.id
"""


# What FIND_OPEN leaves out of the records that were chosen one by one.
COUNT_LEFT = """
SELECT count(*) FILTER (WHERE state <> 'open') AS closed,
  count(*) FILTER (WHERE state = 'open' AND load_id > :newest) AS unpublished
FROM decant.rejected_records WHERE dataset_id = :dataset_id AND id = ANY(CAST(:ids AS bigint[]))
"""


@dataclass(frozen=True)
class LatestBatch:
    """The load that brought the latest published batch, or found it unchanged, record by record."""

    load_id: int
    started_at: datetime


def find_latest_batch(connection: sa.Connection, dataset_id: int) -> LatestBatch | None:
    """The latest batch that is published; None where none is."""
    ended_well = sa.or_(Load.status == "published", sa.and_(Load.status == "unchanged", Load.raw.is_not(None)))
    row = connection.execute(
        sa.select(Load.id, Load.started_at)
        .where(Load.dataset_id == dataset_id, Load.kind.in_(("ingest", "refresh")), ended_well)
        .order_by(Load.finished_at.desc())
        .limit(1)
    ).one_or_none()
    return LatestBatch(row.id, row.started_at) if row else None


@contextmanager
def open_replay_batch(load: RunningLoad) -> Iterator[RawBatch]:
    """The dataset's open rejected records, all or those that the request chooses, as they came.

    Those of a snapshot that was never published are no part of what is: they wait for their batch.
    """
    dataset, dataset_id = load.dataset, load.ticket.dataset_id
    with load.engine.connect().execution_options(stream_results=True, max_row_buffer=BATCH_ROWS) as connection:
        newest = load.ticket.load_id
        if takes_whole(dataset):
            latest = find_latest_batch(connection, dataset_id)
            newest = latest.load_id if latest else 0
        choice = request.choice if isinstance(request := load.ticket.request, Replay) else EVERYTHING
        facts = {"dataset_id": dataset_id, "newest": newest, **bind_choice(choice)}
        as_json = reads_json(dataset) or bool(
            connection.execute(
                sa.text(f"SELECT EXISTS (SELECT FROM ({FIND_OPEN}) AS found WHERE columns IS NULL)"), facts
            ).scalar_one()
        )
        notes = list(describe_left(connection, facts, len(choice.ids))) if choice.ids is not None else []
        file_format = file_format_of(dataset)
        part = RawPart(
            "rejected records",
            write_lines(connection, facts, as_json=as_json),
            file_format=rejects_file_format(file_format),
        )
        yield RawBatch("rejected records", iter([part]), may_be_empty=True, notes=lambda: notes)


def describe_left(connection: sa.Connection, facts: dict[str, Any], chosen: int) -> Iterator[str]:
    """Why some of the chosen records are not replayed."""
    closed, unpublished = connection.execute(sa.text(COUNT_LEFT), facts).one()
    of = f"of {chosen:,} chosen rejected record{'' if chosen == 1 else 's'}"
    if closed:
        yield f"{of}, {closed:,} {'was' if closed == 1 else 'were'} no longer open"
    if unpublished:
        yield f"{of}, {unpublished:,} came in a snapshot that is not published: replay them after its publication"


def rejects_file_format(file_format: FileFormat) -> FileFormat:
    """How a batch of rejected records is parsed."""
    return FileFormat(format=FORMAT, delimiter=file_format.delimiter)


def write_lines(connection: sa.Connection, facts: dict[str, Any], *, as_json: bool) -> Iterator[bytes]:
    """The rejected records as the batch's lines, many at a time."""
    part: tuple[int, str] | None = None
    rows = connection.execute(sa.text(FIND_OPEN), facts)
    for some in rows.partitions(BATCH_ROWS):
        lines: list[Any] = []
        for row in some:
            if part != (row.load_id, row.file):
                part = (row.load_id, row.file)
                columns = map_texts(row.columns, restore_text)
                head = {"load": row.load_id, "file": row.file, "offset": row.offset, "columns": columns}
                lines.append(head | {"as_json": as_json})
            lost = row.malformed and (row.cut_off or REPLACED in row.raw)
            lines.append([row.id, row.line, row.raw, LOST.format(load=row.load_id) if lost else None])
        yield "".join(json.dumps(line) + "\n" for line in lines).encode()


def takes_whole(dataset: Dataset) -> bool:
    """Whether a batch is the whole dataset."""
    return dataset.input is not None and dataset.input.mode == "snapshot"


def recall_note(engine: sa.Engine, dataset: Dataset, dataset_id: int, request: LoadRequest) -> LandedNote | None:
    """The batch of the earlier load that a request names; None where it names none.

    SourceError with the reason where that cannot be replayed.
    """
    with engine.connect() as connection:
        match request:
            case PublishWithheld(load_id=load_id):
                return find_withheld(connection, dataset, dataset_id, load_id)
            case Replay(int(load_id)):
                return find_replayed(connection, dataset, dataset_id, load_id)
    return None


def find_withheld(connection: sa.Connection, dataset: Dataset, dataset_id: int, load_id: int) -> LandedNote:
    """The batch of a load that a gate held back, while nothing was published since."""
    row = find_load(connection, dataset, dataset_id, load_id)
    if row.status != "withheld":
        raise SourceError(f"Load {load_id} was not withheld; it is {row.status}.")
    later = connection.execute(
        sa.select(sa.func.min(Load.id)).where(
            Load.dataset_id == dataset_id, Load.status == "published", Load.finished_at > row.finished_at
        )
    ).scalar_one()
    if later is not None:
        raise SourceError(
            f"Load {later} was published after load {load_id} was withheld: publishing the older batch now would"
            f" undo it. `replay --load {load_id}` adds its records without replacing newer ones."
        )
    return note_of(row, load_id)


def find_replayed(connection: sa.Connection, dataset: Dataset, dataset_id: int, load_id: int) -> LandedNote:
    """The batch of a load that is to be replayed, whole."""
    row = find_load(connection, dataset, dataset_id, load_id)
    if row.kind not in {"ingest", "refresh"}:
        raise SourceError(f"Load {load_id} is a {row.kind} and has no raw batch of its own.")
    latest = find_latest_batch(connection, dataset_id)
    if takes_whole(dataset) and latest is not None and load_id > latest.load_id:
        raise SourceError(
            f"Load {load_id} was never published, and a replay deletes no records: in snapshot mode,"
            f" use `publish --anyway {load_id}`, or ingest again."
        )
    return note_of(row, load_id)


def find_load(connection: sa.Connection, dataset: Dataset, dataset_id: int, load_id: int) -> Any:
    """The ledger's row of a load of this dataset."""
    row = connection.execute(
        sa.select(Load.__table__).where(Load.id == load_id, Load.dataset_id == dataset_id)
    ).one_or_none()
    if row is None:
        raise SourceError(f"{dataset.address} has no load {load_id}.")
    return row


def note_of(row: SqlRow, load_id: int) -> LandedNote:
    """What the ledger keeps of the load's raw batch."""
    if row.landed is None:
        raise SourceError(f"The raw batch of load {load_id} is no longer kept.")
    return LandedNote(**row.landed)


def is_at_rest(engine: sa.Engine, dataset_id: int) -> bool:
    """Whether nothing lies in quarantine that came after the latest publication: that batch may speak for it."""
    published = sa.select(sa.func.max(Load.id)).where(
        Load.dataset_id == dataset_id, Load.status == "published", Load.kind.in_(("ingest", "refresh"))
    )
    later = sa.exists().where(
        RejectedRecord.dataset_id == dataset_id,
        RejectedRecord.state == "open",
        RejectedRecord.load_id > published.scalar_subquery(),
    )
    with engine.connect() as connection:
        return not connection.execute(sa.select(later)).scalar_one()


def dataset_of(engine: sa.Engine, catalog: Catalog, load_id: int) -> str:
    """The address of the dataset that a load is for; SourceError where there is no such load."""
    with engine.connect() as connection:
        row = connection.execute(
            sa.select(DatasetHead.product, DatasetHead.major, DatasetHead.dataset)
            .join(Load, Load.dataset_id == DatasetHead.id)
            .where(Load.id == load_id)
        ).one_or_none()
    if row is None or (row.product, row.major) not in catalog.products:
        raise SourceError(f"Load {load_id} does not exist, or its dataset is unknown.")
    return f"{row.product}@{row.major}.{row.dataset}"
