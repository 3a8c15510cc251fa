"""High-water marks of publications, kept in the home folder: a database behind them was restored from a backup.

One small file for each dataset names its newest revision and when it was published. Epochs that were ended are kept
too: a database that is in one of them again is older than its end.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa

from catalog.model.dataset import Dataset
from catalog.storage.epoch import read_epochs, renew_epoch
from catalog.storage.ledger_tables import SCHEMA, DatasetHead
from runtime.settings.settings import Settings

PlacedHead: TypeAlias = tuple[Dataset, sa.Row[str, int, str, int, int, datetime | None]]
ENDED_FILE = "ended-epochs"
PUBLISHED = sa.text(f"""
SELECT dataset_id, revision, published_at
FROM unnest(CAST(:datasets AS bigint[]), CAST(:revisions AS bigint[])) AS wanted (dataset_id, revision)
JOIN {SCHEMA}.revisions USING (dataset_id, revision)
""")


@dataclass(frozen=True)
class HighWaterMark:
    """The newest publication of a dataset that this host has seen."""

    dataset: str  # its address
    epoch: str
    revision: int
    published_at: str | None  # RFC 3339, in UTC


@dataclass(frozen=True)
class RestoredDatabase:
    """A database found to be restored: why, and the epoch that begins with it."""

    reason: str
    epoch: str

    def explain(self) -> str:
        """What was found and what follows, in a sentence."""
        return (
            f"The database was restored from a backup: {self.reason}. Epoch {self.epoch} begins;"
            f" consumers with revisions of an earlier epoch are told to start again."
        )


def check_restored(
    connection: sa.Connection, settings: Settings, datasets: Collection[Dataset], by: str
) -> RestoredDatabase | None:
    """Begins a new epoch where the database lacks what this host has seen published; None where it lacks nothing.

    Also records the current revisions of the datasets. Runs in the connection's transaction, on the primary only.
    """
    if connection.scalar(sa.select(sa.func.pg_is_in_recovery())):
        return None
    folder = settings.high_water_folder
    epochs, heads = read_epochs(connection), read_heads(connection, datasets)
    marks = [read_high_water_mark(folder, dataset) for dataset in datasets]
    reason = None
    if epochs[-1] in read_ended(folder):
        reason = f"epoch {epochs[-1]} had ended, but the database is in it again"
    known = [mark for mark in marks if mark is not None and mark.epoch == epochs[-1]]
    reason = reason or find_loss(connection, known, heads)
    if reason is not None:
        epochs.append(renew_epoch(connection, epochs[-1], reason, by))
    write_ended(folder, epochs[:-1])
    write_high_water_marks(folder, heads, epochs[-1])
    return RestoredDatabase(reason, epochs[-1]) if reason is not None else None


def find_loss(connection: sa.Connection, marks: Sequence[HighWaterMark], present: Sequence[PlacedHead]) -> str | None:
    """What the database lacks of the publications that the marks name, in words; None where it lacks nothing."""
    heads = {dataset.address: head for dataset, head in present}
    told = [(head.id, mark.revision) for mark in marks if (head := heads.get(mark.dataset)) is not None]
    if not told:
        return None
    rows = connection.execute(
        PUBLISHED, {"datasets": [number for number, _ in told], "revisions": [revision for _, revision in told]}
    )
    publications = {(row.dataset_id, row.revision): row.published_at for row in rows}
    for mark in marks:
        head = heads.get(mark.dataset)
        if head is None:
            continue
        if head.revision < mark.revision:
            return f"{mark.dataset} is at revision {head.revision}, but had reached {mark.revision}"
        published = publications.get((head.id, mark.revision))
        if published is not None and write_timestamp(published) != mark.published_at:
            return f"revision {mark.revision} of {mark.dataset} is not the one that was published before"
    return None


def read_heads(connection: sa.Connection, datasets: Collection[Dataset]) -> list[PlacedHead]:
    """The heads of the datasets that have a table: id, revision, published_at."""
    place = sa.tuple_(DatasetHead.product, DatasetHead.major, DatasetHead.dataset)
    wanted = {(dataset.product, dataset.major, dataset.name): dataset for dataset in datasets}
    statement = sa.select(
        DatasetHead.product,
        DatasetHead.major,
        DatasetHead.dataset,
        DatasetHead.id,
        DatasetHead.revision,
        DatasetHead.published_at,
    )
    if len(wanted) == 1:
        statement = statement.where(place == next(iter(wanted)))
    rows = connection.execute(statement)
    return [(wanted[key], row) for row in rows if (key := (row.product, row.major, row.dataset)) in wanted]


def note_heads(
    connection: sa.Connection, settings: Settings, datasets: Collection[Dataset], epoch: str | None = None
) -> None:
    """Records the current revisions of the datasets, in the current epoch."""
    epoch = epoch or read_epochs(connection)[-1]
    write_high_water_marks(settings.high_water_folder, read_heads(connection, datasets), epoch)


def write_high_water_marks(folder: Path, heads: Sequence[PlacedHead], epoch: str) -> None:
    """Keeps a mark of each dataset that has a revision."""
    for dataset, head in heads:
        if head.revision:
            published_at = write_timestamp(head.published_at) if head.published_at else None
            mark = HighWaterMark(dataset.address, epoch, head.revision, published_at)
            if mark != read_high_water_mark(folder, dataset):
                write_high_water_mark(folder, dataset, mark)


def write_timestamp(timestamp: datetime) -> str:
    """A moment as a mark has it."""
    return timestamp.astimezone(UTC).isoformat()


def high_water_path(folder: Path, dataset: Dataset) -> Path:
    """Where a dataset's mark lies; its address may be longer than a file's name."""
    return folder / f"{hashlib.sha256(dataset.address.encode()).hexdigest()[:24]}.json"


def read_high_water_mark(folder: Path, dataset: Dataset) -> HighWaterMark | None:
    """The dataset's mark; None where there is none, or none that can be read."""
    try:
        return HighWaterMark(**json.loads(high_water_path(folder, dataset).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_high_water_mark(folder: Path, dataset: Dataset, mark: HighWaterMark) -> None:
    """Keeps the dataset's mark."""
    replace_file(high_water_path(folder, dataset), json.dumps(asdict(mark)))


def read_ended(folder: Path) -> set[str]:
    """The epochs that are known to have ended."""
    try:
        return set((folder / ENDED_FILE).read_text().split())
    except FileNotFoundError:
        return set()


def write_ended(folder: Path, epochs: Collection[str]) -> None:
    """Keeps these epochs with those that have ended."""
    known = read_ended(folder)
    if not known.issuperset(epochs):
        replace_file(folder / ENDED_FILE, "\n".join(sorted(known.union(epochs))) + "\n")


def replace_file(path: Path, text: str) -> None:
    """Writes a file in one step: a reader finds all of the text or what was there before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
