"""Files that all hosts of an installation share: raw batches, records of current revisions, finished exports.

An object is whole, and never changes: its key names its content. Objects lie in the home folder, or in the bucket
that DECANT_STORE_URL names; from there, what a host reads is fetched into a folder of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings

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


class FolderStore:
    """Objects as files of a folder that every host reaches."""

    is_shared = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, draft: Path, key: str) -> Placed:
        """Makes a finished file the object, unless there is one already; the draft goes in any case."""
        path = self.root / key
        if path.is_file():
            if not path.samefile(draft):
                draft.unlink()
            return Placed(path, is_first=False)
        for folder in (self.root / Path(key).parts[0], path.parent):
            make_private_folder(folder)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        # A rename is whole or has not happened: nobody ever sees half an object.
        return Placed(draft.replace(path), is_first=True)

    def find(self, key: str, folder: Path) -> Path | None:
        """The object itself."""
        path = self.root / key
        return path if path.is_file() else None

    def look_up(self, key: str) -> StoredObject | None:
        """What is said of an object."""
        try:
            facts = (self.root / key).stat()
        except FileNotFoundError:
            return None
        return StoredObject(key, facts.st_size, facts.st_mtime)

    def delete(self, key: str) -> None:
        """Takes an object away."""
        (self.root / key).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """The objects below a folder."""
        for folder, _, names in os.walk(self.root / prefix):
            for name in names:
                # Another process may be quicker.
                with suppress(FileNotFoundError):
                    path = Path(folder) / name
                    facts = path.stat()
                    yield StoredObject(str(path.relative_to(self.root)), facts.st_size, facts.st_mtime)


@dataclass(frozen=True)
class StorePlace:
    """Where a store is, for who opens it elsewhere; who may use it is said by the environment there."""

    url: str | None  # of a bucket
    home: Path
    refuses_versions: bool

    @classmethod
    def of(cls, settings: Settings) -> StorePlace:
        """The place of an installation's store."""
        return cls(settings.store_url, settings.home.resolve(), settings.env == "production")

    def open(self) -> ObjectStore:
        """The store."""
        return FolderStore(self.home) if self.url is None else open_bucket(self.url, self.refuses_versions)


def open_store(settings: Settings) -> ObjectStore:
    """The store of an installation."""
    return StorePlace.of(settings).open()


@cache
def open_bucket(url: str, in_production: bool) -> ObjectStore:
    """The store in a bucket; its connections are kept."""
    # Here: the client takes 30 ms to import, and most installations have none.
    from catalog.storage.bucket_store import BucketStore

    return BucketStore(url, refuses_versions=in_production)
