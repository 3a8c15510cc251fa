"""Pushed events: the API keeps them in the ledger, a load takes those that wait, in the order in which they came.

A load takes its events before it reads them. One that was killed finds those that it took when it is taken up again;
one that failed for good gives them back. So each event is in one batch that was published or withheld, or it waits.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import sqlalchemy as sa

from catalog.storage.ledger_tables import Event, Load
from ingest.inputs.raw_batch import InputContext, RawBatch, RawPart
from ingest.ledger.events import take_over

BATCH_RECORDS = 10_000
BATCH_BYTES = 64 << 20
BLOCK_RECORDS = 500
SOURCE = "pushed events"

# In the order of their ids, up to a number and a size, but always one.
TAKE = sa.text(
    "WITH waiting AS (SELECT id, octet_length(payload) AS size FROM decant.events"
    " WHERE dataset_id = :dataset_id AND load_id IS NULL ORDER BY id LIMIT :records FOR UPDATE SKIP LOCKED),"
    " numbered AS (SELECT id, row_number() OVER earlier AS line, sum(size) OVER earlier - size AS before"
    " FROM waiting WINDOW earlier AS (ORDER BY id))"
    " UPDATE decant.events SET load_id = :load_id, line = numbered.line"
    " FROM numbered WHERE events.id = numbered.id AND numbered.before < :bytes"
)


@contextmanager
def open_events_batch(context: InputContext) -> Iterator[RawBatch]:
    """The events that wait, as NDJSON; those that this load took before, where it was killed behind that."""
    with context.engine.begin() as connection:
        dataset_id = connection.execute(sa.select(Load.dataset_id).where(Load.id == context.load_id)).scalar_one()
        take_over(connection, dataset_id, context.load_id)
        mine = sa.select(Event.id).where(Event.load_id == context.load_id).exists()
        if not connection.execute(sa.select(mine)).scalar_one():
            limits = {"records": BATCH_RECORDS, "bytes": BATCH_BYTES}
            connection.execute(TAKE, {"dataset_id": dataset_id, "load_id": context.load_id, **limits})
        waiting = sa.select(Event.id).where(Event.dataset_id == dataset_id, Event.load_id.is_(None)).exists()
        some, more = connection.execute(sa.select(mine, waiting)).one()
    # Closed in any case: a load that fails half-way must not leave its connection to the garbage collector.
    with closing(read_payloads(context.engine, context.load_id)) as payloads:
        parts = iter([RawPart("events", payloads)] if some else [])
        yield RawBatch(SOURCE, parts, may_be_empty=True, more=more)


def read_payloads(engine: sa.Engine, load_id: int) -> Generator[bytes, None, None]:
    """The events of a load, one in a line, block by block."""
    query = sa.select(Event.payload).where(Event.load_id == load_id).order_by(Event.line)
    with engine.connect().execution_options(stream_results=True, max_row_buffer=BLOCK_RECORDS) as connection:
        for block in connection.execute(query).scalars().partitions(BLOCK_RECORDS):
            yield "".join(f"{payload}\n" for payload in block).encode()
