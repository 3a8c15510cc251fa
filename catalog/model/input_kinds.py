"""The kinds of inputs, and how each is fed; `catalog/inputs/` builds them, `ingest/inputs/` reads them. Pure.

A new one is an entry here, a file in each of these folders, and a line of each folder's list.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InputKind:
    """One kind of input."""

    name: str
    scheduled: bool = True  # read when a schedule of its product says so; otherwise fed by what happens elsewhere
    pushed: bool = False  # records are sent to Decant; each has its own outcome
    streamed: bool = False  # messages of a broker, changes of a table: read as they come, each has its own outcome
    derived: bool = False  # a query over other datasets, refreshed when these are published
    sampled: bool = True  # its batches are comparable: a key that is gone from all records is worth a note

    @property
    def continuous(self) -> bool:
        """Whether records come one by one, each with its own outcome, and are expected soon after they came."""
        return self.pushed or self.streamed


INPUT_KINDS: list[InputKind] = [
    InputKind("file"),
    InputKind("bucket"),
    InputKind("http"),
    InputKind("database", sampled=False),
    InputKind("events", scheduled=False, pushed=True, sampled=False),
    InputKind("stream", scheduled=False, streamed=True, sampled=False),
    InputKind("replication", scheduled=False, streamed=True, sampled=False),
    InputKind("query", scheduled=False, derived=True, sampled=False),
]


def find_input_kind(name: str) -> InputKind:
    """The kind of that name, which is one of them."""
    return next(kind for kind in INPUT_KINDS if kind.name == name)
