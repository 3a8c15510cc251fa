"""A batch of messages: from where the last one ended up to what the stream held when this one was opened.

There is no group of consumers, and nothing is committed at the broker: the position moves inside the transaction that
publishes, and the dataset's lock says whose turn it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

from catalog.model.dataset import Input
from catalog.model.sources import StreamSource
from ingest.errors import SourceError
from ingest.inputs.raw_batch import InputContext, RawBatch
from ingest.inputs.stream.clients import borrow_client
from ingest.inputs.stream.lines import MessageSpool, choose_writer, make_batch
from ingest.inputs.stream.messages import StreamClient, StreamState
from ingest.inputs.stream.position import StreamPosition, go_on, plan_ends, read_position


@contextmanager
def open_stream_batch(context: InputContext) -> Iterator[RawBatch]:
    """The messages that wait, up to the batch's limits, each on a line of its own."""
    source = source_of(context.source)
    with borrow_client(context) as (client, decode), context.open_folder() as folder:
        found = client.look()
        position, notes = find_start(context, client, found)
        ends = plan_ends(position.next, found.ends, source.batch.records)
        writer = choose_writer(context.dataset, source.key, decode)
        with closing(MessageSpool(folder, source.topic, writer)) as spool:
            reached = read_batch(client, spool, position, ends, source)
            more = any(reached.next[partition] < end for partition, end in found.ends.items())
            yield make_batch(source.topic, spool, reached.note, notes, more=more)


def find_start(context: InputContext, client: StreamClient, found: StreamState) -> tuple[StreamPosition, list[str]]:
    """Where the batch begins, and what is worth a note."""
    source = source_of(context.source)
    kept = read_position(context.state, source.topic)
    if kept is not None:
        return go_on(kept, found, skip=source.on_gap == "skip")
    return StreamPosition(source.topic, found.id, resolve(source.start, client, found)), []


def resolve(start: str, client: StreamClient, found: StreamState) -> dict[int, int]:
    """The offset of each partition that is meant by earliest, latest or a moment in ISO 8601."""
    if start == "earliest":
        return found.firsts
    if start == "latest":
        return found.ends
    return found.ends | client.find(datetime.fromisoformat(start))


def read_batch(
    client: StreamClient, spool: MessageSpool, position: StreamPosition, ends: dict[int, int], source: StreamSource
) -> StreamPosition:
    """Reads into the spool; the position after what was read."""
    if ends == dict(position.next):
        return position
    reached = dict(position.next)
    deadline = time.monotonic() + source.batch.seconds
    with closing(client.read(position.next, ends)) as messages:
        for run in messages:
            spool.take(run)
            reached |= spool.next
            if spool.size >= source.batch.bytes or time.monotonic() >= deadline:
                return StreamPosition(position.topic, position.id, reached)
    # All was read: offsets behind the last message of a partition hold none.
    return StreamPosition(position.topic, position.id, ends)


def source_of(source: Input) -> StreamSource:
    """The input's stream; SourceError where it has none."""
    if not isinstance(source.source, StreamSource):
        raise SourceError("The input is not a stream.")
    return source.source
