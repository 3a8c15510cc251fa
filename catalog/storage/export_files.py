"""Where cached exports lie, on this host and in the bucket that hosts share, and their deletion."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from catalog.model.dataset import Dataset
from catalog.storage.object_store import EXPORTS, delete_older
from catalog.storage.store_place import open_store
from runtime.settings.settings import Settings

KEPT_SECONDS = 7 * 86_400.0  # of an export in the bucket
REVISION_OF = re.compile(r"([0-9a-f]{8})-(\d+)")  # a file is named after its entity tag


def export_folder(root: Path, dataset: Dataset) -> Path:
    """Where the kept exports of a dataset lie; the name of each file begins with its epoch and revision."""
    return root / dataset.schema / dataset.name


def delete_exports(settings: Settings, dataset: Dataset, before: tuple[str, int] | None = None) -> int:
    """How many files of a dataset went here, as `delete_files` says; those in the bucket go as well."""
    store = open_store(settings)
    if store.is_shared:
        for found in list(store.list(f"{EXPORTS}/{dataset.schema}/{dataset.name}")):
            if is_past(Path(found.key).name, before):
                store.delete(found.key)
    return delete_files(settings.exports_folder, dataset, before)


def delete_old_exports(settings: Settings, now: datetime) -> None:
    """Deletes the exports that have been in the bucket for a week: they are made again where they are asked for."""
    store = open_store(settings)
    if store.is_shared:
        delete_older(store, EXPORTS, now.timestamp() - KEPT_SECONDS)


def delete_files(root: Path, dataset: Dataset, before: tuple[str, int] | None = None) -> int:
    """How many files of a dataset went: all of them, half-made ones too, or those `before` a revision of an epoch.

    A file of another epoch is before every revision of this one: its revisions can no longer be read.
    """
    gone = 0
    for path in list_files(export_folder(root, dataset)):
        if is_past(path.name, before):
            # Another process may be quicker.
            with suppress(FileNotFoundError):
                path.unlink()
                gone += path.suffix != ".lock"
    return gone


def is_past(name: str, before: tuple[str, int] | None) -> bool:
    """Whether a file of this name is before a revision of an epoch, or all are."""
    named = REVISION_OF.match(name)
    return before is None or named is None or named[1] != before[0] or int(named[2]) < before[1]


def list_files(folder: Path) -> list[Path]:
    """The files of a folder and of those in it, where half-made ones may lie; none where there is no folder."""
    try:
        return [path for path in folder.rglob("*") if path.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
