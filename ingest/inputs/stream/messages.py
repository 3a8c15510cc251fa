"""What a broker's client offers: where its partitions begin and end, and the messages between two offsets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import sub
from typing import NamedTuple, Protocol

from ingest.errors import SourceError

Offsets = Mapping[int, int]  # partition -> offset


class StreamGapError(SourceError):
    """Messages that were not read are gone, or the topic is not the one that was read."""

    code = "stream_gap"


class Message(NamedTuple):
    """One message; `value` is None for a tombstone."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int | None  # milliseconds since 1970
    headers: Sequence[tuple[str, bytes]]


class Run(NamedTuple):
    """Messages of one partition in their order: columns, since most contracts read nothing but values."""

    partition: int
    offsets: Sequence[int]  # ascending, with gaps where there are no messages
    values: Sequence[bytes | None]
    get: Callable[[int], Message]  # one of them by its index, with all that it says of itself

    def until(self, end: int) -> Run:
        """The messages with offsets before `end`."""
        number = bisect_left(self.offsets, end)
        return self._replace(offsets=self.offsets[:number], values=self.values[:number])

    def gaps(self, expected: int) -> list[tuple[int, int]]:
        """(index, number of offsets that are missing before it); the first offset should be `expected`."""
        if self.offsets and self.offsets[-1] - expected == len(self.offsets) - 1:
            return []
        steps = map(sub, self.offsets, chain([expected - 1], self.offsets))
        return [(index, step - 1) for index, step in enumerate(steps) if step != 1]


class Span(NamedTuple):
    """What a partition holds: the first offset that can be read, and the one after the last."""

    first: int
    end: int


@dataclass(frozen=True)
class StreamState:
    """What a stream holds now."""

    id: str | None  # another one of the same name has another; None where the broker gives none
    partitions: Mapping[int, Span]

    @property
    def ends(self) -> dict[int, int]:
        """The offset after the last message of each partition."""
        return {partition: span.end for partition, span in self.partitions.items()}

    @property
    def firsts(self) -> dict[int, int]:
        """The first offset of each partition that can be read."""
        return {partition: span.first for partition, span in self.partitions.items()}


class StreamClient(Protocol):
    """A connection to a broker that is kept between batches; used by one thread at a time."""

    def look(self) -> StreamState:
        """What the stream holds now; SourceError where it cannot be asked."""

    def find(self, moment: datetime) -> dict[int, int]:
        """The first offset of each partition whose message is not older than the moment."""

    def read(self, starts: Offsets, ends: Offsets) -> Generator[Run]:
        """The messages from `starts` up to `ends`, some at a time, of each partition in its order.

        StreamGapError, SourceError.
        """

    def close(self) -> None:
        """Closes the connection."""
