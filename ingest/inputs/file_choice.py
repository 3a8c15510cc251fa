"""Selects the files of the next raw batch, and computes the input's position after it. Pure.

A snapshot is all files together. In the other modes each new or changed file is a batch of its own, by name: one that
is withheld or fails stays the first until it is mended, for the position only moves with what is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.model.dataset import Input
from ingest.inputs.file_patterns import has_magic
from ingest.ledger.landed_note import Position

GONE_NAMES_KEPT = 10_000  # of files that are no longer there, the last by name: one that comes back is known


@dataclass(frozen=True)
class Choice:
    """The names that make the next batch, in order."""

    names: tuple[str, ...]
    position: Position
    may_be_empty: bool
    more: bool


def choose_files(source: Input, fingerprints: Mapping[str, object], state: Position) -> Choice:
    """The next batch of the files there; `fingerprints` has a value for each file that changes with its content."""
    if source.mode == "snapshot" or not has_magic(source.path or ""):
        return Choice(tuple(sorted(fingerprints)), {"files": dict(fingerprints)}, may_be_empty=False, more=False)
    known = dict(state.get("files", {}))
    new_data = sorted(name for name, fingerprint in fingerprints.items() if known.get(name) != fingerprint)
    if not new_data:
        return Choice((), {**state, "files": known}, may_be_empty=True, more=False)
    gone = sorted(name for name in known if name not in fingerprints)
    for name in gone[:-GONE_NAMES_KEPT]:
        del known[name]
    known[new_data[0]] = fingerprints[new_data[0]]
    return Choice((new_data[0],), {"files": known}, may_be_empty=False, more=len(new_data) > 1)


def find_next(source: Input, fingerprints: Mapping[str, object], state: Position) -> dict[str, object] | None:
    """The position that a load would reach now; None where there is nothing that was not loaded before."""
    choice = choose_files(source, fingerprints, state)
    return choice.position if choice.names and choice.position != dict(state) else None
