"""The object store tried out, compared with the ledger, and filled from another one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.storage.object_store import LANDING, ObjectStore, StoredObject
from ingest.errors import SourceError
from ingest.landing.landing_zone import LandingZone, digest_file
from ingest.landing.restored import MissingBatches, find_missing_batches
from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings

PROBES = "probes"  # what keys of trial objects begin with
PROBE = b"decant store check\n"


@dataclass(frozen=True)
class Tried:
    """What a trial object met."""

    keeps_first: bool  # whether a second object of the same key is refused
    deletes: bool  # whether a deleted object is gone
    milliseconds: float  # to put, find and delete it

    @property
    def is_fit(self) -> bool:
        """Whether the store can be used."""
        return self.keeps_first and self.deletes

    def explain(self) -> Iterator[str]:
        """The outcome, in sentences."""
        yield f"An object was put, found and deleted in {self.milliseconds:,.0f} ms."
        if not self.keeps_first:
            yield (
                "It cannot be used by several hosts: a second object of the same key replaced the first"
                " (it must support conditional writes, If-None-Match)."
            )
        if not self.deletes:
            yield "It cannot be used: a deleted object was still there, so no record could be erased."


@dataclass(frozen=True)
class Compared:
    """The raw batches of the store beside those that the ledger names."""

    objects: int
    bytes: int
    orphans: int  # objects that no load names
    missing: list[MissingBatches]


@dataclass
class Copied:
    """What was copied from one store to another."""

    objects: int = 0
    bytes: int = 0
    present: int = 0  # objects that were there already


def try_store(store: ObjectStore, work_folder: Path) -> Tried:
    """Puts, finds and deletes an object of its own; StoreError where the store does not let it."""
    make_private_folder(work_folder)
    key = f"{PROBES}/{token_hex(8)}"
    started = time.perf_counter()
    with TemporaryDirectory(dir=work_folder) as name:
        folder, elsewhere = Path(name), Path(name) / "found"
        elsewhere.mkdir()
        store.put(write_draft(folder, PROBE), key)
        is_first = store.put(write_draft(folder, b"another\n"), key).is_first
        found = store.find(key, elsewhere)
        content = found.read_bytes() if found is not None else b""
        store.delete(key)
        deletes = store.look_up(key) is None
    spent = (time.perf_counter() - started) * 1000
    return Tried(keeps_first=not is_first and content == PROBE, deletes=deletes, milliseconds=round(spent, 1))


def write_draft(folder: Path, content: bytes) -> Path:
    """A finished file that is to be an object."""
    path = folder / f"draft-{token_hex(4)}"
    path.write_bytes(content)
    return path


def compare(engine: sa.Engine, settings: Settings, zone: LandingZone, catalog: Catalog) -> Compared:
    """The store beside the ledger."""
    stored = list(zone.store.list(LANDING))
    orphans = sum(1 for _ in zone.find_orphans(engine, time.time()))
    with engine.connect() as connection:
        missing = find_missing_batches(connection, settings, catalog)
    return Compared(len(stored), sum(each.size for each in stored), orphans, missing)


def copy_batches(
    source: ObjectStore, target: ObjectStore, work_folder: Path, copied: Copied
) -> Iterator[StoredObject]:
    """Copies raw batches, one after the other; SourceError where one is not what its name says."""
    make_private_folder(work_folder)
    for each in source.list(LANDING):
        if target.look_up(each.key) is not None:
            copied.present += 1
        else:
            with TemporaryDirectory(dir=work_folder) as name:
                copy_batch(source, target, each.key, Path(name))
            copied.objects += 1
            copied.bytes += each.size
        yield each


def copy_batch(source: ObjectStore, target: ObjectStore, key: str, folder: Path) -> None:
    """Copies one raw batch by way of a folder; nothing where it was removed meanwhile."""
    found = source.find(key, folder)
    if found is None:
        return
    if digest_file(found) != Path(key).name:
        raise SourceError(f"The raw batch {Path(key).name[:12]} is not what its name says: it was not copied.")
    draft = folder / "draft"
    # The source keeps its own: a store takes a file away from where it lies.
    os.link(found, draft)
    target.put(draft, key)
