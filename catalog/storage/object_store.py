"""Files that all hosts of an installation share: raw batches, records of current revisions, finished exports.

An object is whole, and never changes: its key names its content. Objects lie in the home folder, or in the bucket
that DECANT_STORE_URL names; from there, what a host reads is fetched into a folder of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

LANDING, KNOWN, EXPORTS, SLICES = "landing", "known", "exports", "slices"  # what keys begin with


class StoredObject(NamedTuple):
    """What is said of an object."""

    key: str
    size: int  # bytes
    stored_at: float  # seconds since 1970


class Placed(NamedTuple):
    """What became of a file that was to be an object."""

    path: Path  # where its bytes are on this host
    is_first: bool  # whether it is the object; otherwise there was one already, which stays


class ObjectStore(Protocol):
    """Whole objects by key, such as `landing/ab/ab12…`; StoreError where they cannot be reached."""

    is_shared: bool  # whether hosts reach it that share no disk

    def put(self, draft: Path, key: str) -> Placed:
        """Makes a finished file the object, unless there is one already; it lies elsewhere from now on."""

    def find(self, key: str, folder: Path) -> Path | None:
        """A file that holds the object, in `folder` where it has to be fetched; None where there is none."""

    def look_up(self, key: str) -> StoredObject | None:
        """What is said of an object; None where there is none."""

    def delete(self, key: str) -> None:
        """Takes an object away, if it is there."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The objects below a folder of keys."""


def delete_older(store: ObjectStore, prefix: str, before: float) -> None:
    """Deletes the objects below a folder of keys that were stored before a moment (seconds since 1970)."""
    for found in list(store.list(prefix)):
        if found.stored_at < before:
            store.delete(found.key)
