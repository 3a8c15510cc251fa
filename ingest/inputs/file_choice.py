"""Which of the files that lie there make the next raw batch, and where the input stands behind it. Pure.

A snapshot is all files together. In the other modes each new or changed file is a batch of its own, by name: one that
is withheld or fails stays the first until it is mended, for the position only moves with what is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.model.dataset import Input
from ingest.inputs.file_patterns import has_magic

GONE_NAMES_KEPT = 10_000  # of files that are no longer there, the last by name: one that comes back is known


@dataclass(frozen=True)
class Choice:
    """The names that make the next batch, in order."""

    names: tuple[str, ...]
    position: dict[str, Any]
    may_be_empty: bool
    more: bool


def choose_files(source: Input, marks: Mapping[str, Any], state: Mapping[str, Any]) -> Choice:
    """The next batch of what lies there; `marks` tells of each file what changes when its content does."""
    if source.mode == "snapshot" or not has_magic(source.path or ""):
        return Choice(tuple(sorted(marks)), {"files": dict(marks)}, may_be_empty=False, more=False)
    known = dict(state.get("files", {}))
    news = sorted(name for name, mark in marks.items() if known.get(name) != mark)
    if not news:
        return Choice((), {**state, "files": known}, may_be_empty=True, more=False)
    gone = sorted(name for name in known if name not in marks)
    for name in gone[:-GONE_NAMES_KEPT]:
        del known[name]
    known[news[0]] = marks[news[0]]
    return Choice((news[0],), {"files": known}, may_be_empty=False, more=len(news) > 1)


def find_next(source: Input, marks: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The position that a load would reach now; None where there is nothing that was not loaded before."""
    choice = choose_files(source, marks, state)
    return choice.position if choice.names and choice.position != dict(state) else None
