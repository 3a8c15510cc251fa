"""Lag: how many messages of a stream wait to be read, and since when not everything has been read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.storage.stream_tables import StreamLag
from ingest.inputs.raw_batch import InputContext
from ingest.inputs.stream.clients import borrow_client
from ingest.inputs.stream.input import resolve, source_of
from ingest.inputs.stream.messages import StreamState
from ingest.inputs.stream.position import read_position

WRITTEN_AGAIN = timedelta(seconds=5)  # where nothing has changed


@dataclass(frozen=True)
class PartitionLag:
    """One partition: the offset that is read next, and the one after its last message."""

    partition: int
    next: int
    end: int
    bytes: int | None = None  # of a log that waits, where what waits is not counted by offsets

    @property
    def records(self) -> int:
        """The offsets that wait; some may hold no message."""
        return max(self.end - self.next, 0)


@dataclass(frozen=True)
class Lag:
    """What of a stream waits to be read."""

    topic: str
    partitions: tuple[PartitionLag, ...]
    is_broken: bool  # whether the position is not of this stream, or no longer in it: a load will say why
    counted: int | None = None  # the records that wait, where offsets do not say it
    is_due: bool = False  # whether a load is worth while though no record waits

    @property
    def records(self) -> int:
        """The records that wait: the offsets, over all partitions, where nothing else is known."""
        return self.counted if self.counted is not None else sum(each.records for each in self.partitions)


def measure_lag(context: InputContext) -> Lag:
    """The lag of the dataset's stream now, asked of its broker; SourceError where that does not answer."""
    source = source_of(context.source)
    with borrow_client(context) as (client, _):
        found = client.look()
        position = read_position(context.state, source.topic)
        following = position.next if position is not None else resolve(source.start, client, found)
    partitions = tuple(
        PartitionLag(partition, following.get(partition, span.first), span.end)
        for partition, span in sorted(found.partitions.items())
    )
    is_broken = position is not None and is_lost(position.id, dict(position.next), found)
    return Lag(source.topic, partitions, is_broken)


def is_lost(id_: str | None, following: dict[int, int], found: StreamState) -> bool:
    """Whether reading cannot go on at the position."""
    if id_ is not None and found.id is not None and id_ != found.id:
        return True
    spans = found.partitions
    return any(
        partition not in spans or not spans[partition].first <= offset <= spans[partition].end
        for partition, offset in following.items()
    )


def write_lag(connection: sa.Connection, dataset_id: int, lag: Lag) -> bool:
    """Keeps a measurement, where it says something new; whether there was none when it was tried last."""
    now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    table = StreamLag.__table__
    before = connection.execute(sa.select(table).where(table.c.dataset_id == dataset_id)).one_or_none()
    partitions = [{name: fact for name, fact in asdict(each).items() if fact is not None} for each in lag.partitions]
    same = before is not None and (before.partitions, before.error) == (partitions, None)
    if same and before is not None and now - before.measured_at < WRITTEN_AGAIN:
        return False
    caught_up_at = before.caught_up_at if before is not None and before.topic == lag.topic else None
    following = {each.partition: each.next for each in lag.partitions}
    if not lag.records:
        caught_up_at = now
    elif before is not None and all(following.get(old["partition"], 0) >= old["end"] for old in before.partitions):
        caught_up_at = before.measured_at  # all that there was then has been read
    values = {
        "topic": lag.topic,
        "partitions": partitions,
        "records": lag.records,
        "caught_up_at": caught_up_at,
        "error": None,
        "measured_at": now,
    }
    statement = insert(StreamLag).values(dataset_id=dataset_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["dataset_id"], set_=values))
    return before is not None and before.error is not None


def write_error(connection: sa.Connection, dataset_id: int, topic: str, error: str) -> None:
    """Keeps why a stream could not be measured, beside the last measurement."""
    values = {"topic": topic, "partitions": [], "records": 0, "error": error}
    statement = insert(StreamLag).values(dataset_id=dataset_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["dataset_id"], set_={"error": error}))
