"""Which object store an installation has: the home folder, or a bucket."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from catalog.storage.folder_store import FolderStore
from catalog.storage.object_store import ObjectStore
from runtime.settings.settings import Settings


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
