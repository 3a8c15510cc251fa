"""Snapshot of a dataset's current revision, kept in the object store for the next load to compare with.

Most records of most batches are repeated unchanged. Where a file of the current revision's records lies there, DuckDB
finds them in a fraction of the time that it takes to stage them all in Postgres. The file is a shortcut and never
the truth: its name says which publication it is of, whatever does not fit is passed over, and what it does not vouch
for goes to Postgres, which decides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex

import duckdb
import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.ledger_tables import DatasetHead
from catalog.storage.object_store import KNOWN
from catalog.storage.store_place import open_store
from runtime.duckdb_connection import open_duckdb
from runtime.duckdb_quoting import quote_text
from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings

SNAPSHOT_FROM_RECORDS = 10_000  # below it, Postgres is as quick


@dataclass(frozen=True)
class PublishedState:
    """One publication of a dataset, and the parent publications that its records were checked against."""

    dataset_id: int
    revision: int
    published_at: datetime | None
    record_count: int
    parents: Mapping[str, int]


@dataclass(frozen=True)
class PublishedSnapshot:
    """A file of records that are current, each property in a column named as in `judged`."""

    file: Path
    whole: bool  # whether it holds all of them


def supports_snapshot(dataset: Dataset) -> bool:
    """Whether records that are repeated unchanged need no second look.

    Not where they may clash with others (`unique`), and not in `append` mode, where a key's first record stays.
    """
    unique = any(prop.unique and (prop.name,) != dataset.key for prop in dataset.properties.values())
    return dataset.input is not None and dataset.input.mode != "append" and not unique


def is_worthwhile(records: int) -> bool:
    """Whether so many records are compared sooner here than in Postgres."""
    return records >= SNAPSHOT_FROM_RECORDS


def read_published_state(connection: sa.Connection, dataset_id: int, parents: Mapping[str, int]) -> PublishedState:
    """The dataset's head as the connection's transaction sees it, with the revisions of its parents."""
    head = connection.execute(sa.select(DatasetHead.__table__).where(DatasetHead.id == dataset_id)).one()
    return PublishedState(dataset_id, head.revision, head.published_at, head.record_count, parents)


def read_parents(connection: sa.Connection, dataset: Dataset) -> dict[str, int]:
    """The revisions of the datasets that this one's records must have their parents in."""
    names = {key.dataset for key in dataset.foreign_keys if key.enforced}
    rows = connection.execute(
        sa.select(DatasetHead.dataset, DatasetHead.revision)
        .where(DatasetHead.product == dataset.product, DatasetHead.major == dataset.major)
        .where(DatasetHead.dataset.in_(names))
    )
    return {str(name): int(revision) for name, revision in rows}


def find_snapshot(settings: Settings, dataset: Dataset, published_state: PublishedState) -> PublishedSnapshot | None:
    """The file of the current revision, where there is one; from a bucket it is fetched once."""
    if not supports_snapshot(dataset) or not is_worthwhile(published_state.record_count):
        return None
    make_private_folder(settings.known_folder)
    file = open_store(settings).find(make_key(dataset, published_state), settings.known_folder.resolve())
    if file is None:
        return None
    file = file.resolve()
    with open_duckdb(files=(file,)) as engine:
        try:
            row = engine.execute(f"SELECT count(*) FROM read_parquet({quote_text(str(file))})").fetchone()
        except duckdb.Error:
            return None
    return PublishedSnapshot(file, whole=row is not None and row[0] == published_state.record_count)


def store_snapshot(settings: Settings, dataset: Dataset, published_state: PublishedState, draft: Path) -> None:
    """Stores the snapshot of a publication for the next load, and deletes earlier ones."""
    delete_snapshots(settings, published_state.dataset_id)
    make_private_folder(settings.known_folder)
    # From here on it is this host's copy, where the store is a bucket.
    draft = draft.replace(settings.known_folder / f"{published_state.dataset_id}-{token_hex(8)}.part")
    open_store(settings).put(draft, make_key(dataset, published_state))


def delete_snapshots(settings: Settings, dataset_id: int) -> None:
    """Deletes the dataset's snapshots, half-made ones too; other hosts' copies go with `delete_outdated_copies`."""
    store = open_store(settings)
    for found in list(store.list(KNOWN)):
        if Path(found.key).name.startswith(f"{dataset_id}-"):
            store.delete(found.key)
    for copy in settings.known_folder.glob(f"{dataset_id}-*"):
        copy.unlink(missing_ok=True)


def delete_outdated_copies(settings: Settings) -> None:
    """Deletes this host's copies of what is no longer in the bucket: it may have been erased."""
    store = open_store(settings)
    if not store.is_shared:
        return
    copies = list(settings.known_folder.glob("*.parquet"))
    if copies:
        kept = {Path(found.key).name for found in store.list(KNOWN)}
        for copy in copies:
            if copy.name not in kept:
                copy.unlink(missing_ok=True)


def make_key(dataset: Dataset, published_state: PublishedState) -> str:
    """The key of the file of one publication: any other publication, parent or column is another name."""
    facts = [
        published_state.revision,
        str(published_state.published_at),
        sorted(published_state.parents.items()),
        [(prop.column, prop.type.duckdb) for prop in dataset.properties.values()],
        dataset.key,
    ]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    return f"{KNOWN}/{published_state.dataset_id}-{digest}.parquet"
