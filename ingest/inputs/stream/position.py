"""The position of a stream: the next offset of each partition, and of which topic. Pure.

`{"topic": name, "id": id or null, "next": {"0": 123}}`; numbers of partitions are texts, since JSON has no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest.inputs.stream.messages import Offsets, StreamGapError, StreamState
from ingest.ledger.landed_note import Position


@dataclass(frozen=True)
class StreamPosition:
    """Where reading goes on."""

    topic: str
    id: str | None
    next: Offsets

    def note(self) -> Position:
        """The position as the ledger keeps it."""
        ordered = {str(partition): self.next[partition] for partition in sorted(self.next)}
        return {"topic": self.topic, "id": self.id, "next": ordered}


def read_position(state: Position, topic: str) -> StreamPosition | None:
    """The position that the ledger keeps; None where none is kept, or of another topic than the contract names."""
    if state.get("topic") != topic or not isinstance(state.get("next"), Mapping):
        return None
    return StreamPosition(topic, state.get("id"), {int(key): int(value) for key, value in state["next"].items()})


def go_on(position: StreamPosition, found: StreamState, *, skip: bool) -> tuple[StreamPosition, list[str]]:
    """Where the next batch begins, and what is worth a note; StreamGapError where messages were lost.

    A partition that is new begins at its first message. With `skip`, reading goes on after the gap.
    """
    notes: list[str] = []
    if position.id is not None and found.id is not None and position.id != found.id:
        notes.append(f"{position.topic} is not the topic that was read before: it was deleted and made again")
        starts = found.firsts
    else:
        starts = {}
        for partition, span in found.partitions.items():
            start = position.next.get(partition, span.first)
            if start < span.first:
                notes.append(f"offsets {start:,} to {span.first - 1:,} of partition {partition} are gone, unread")
                start = span.first
            elif start > span.end:
                notes.append(
                    f"partition {partition} ends at offset {span.end:,}, before the next one to be read, {start:,}"
                )
                start = span.first
            starts[partition] = start
        gone = sorted(position.next.keys() - found.partitions.keys())
        notes += [f"partition {partition} is gone" for partition in gone]
    if notes and not skip:
        reasons = "; ".join(notes[:5]) + ("; …" if len(notes) > 5 else "")
        raise StreamGapError(f"{reasons}. `decant seek` says where reading goes on.")
    return StreamPosition(position.topic, found.id, starts), notes


def plan_ends(starts: Offsets, ends: Offsets, records: int) -> dict[int, int]:
    """Where a batch of at most so many offsets ends in each partition: what is left is shared evenly."""
    left = {partition: ends[partition] - start for partition, start in starts.items() if ends[partition] > start}
    planned = dict(starts)
    while left and records > 0:
        share = max(records // len(left), 1)
        for partition in sorted(left, key=lambda each: left[each]):
            taken = min(share, left[partition], records)
            planned[partition] += taken
            left[partition] -= taken
            records -= taken
        left = {partition: number for partition, number in left.items() if number}
    return planned
