"""The folder of cached exports, and their deletion."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from catalog.model.dataset import Dataset

REVISION_OF = re.compile(r"([0-9a-f]{8})-(\d+)")  # a file is named after its entity tag


def export_folder(root: Path, dataset: Dataset) -> Path:
    """Where the kept exports of a dataset lie; the name of each file begins with its epoch and revision."""
    return root / dataset.schema / dataset.name


def delete_exports(root: Path, dataset: Dataset, before: tuple[str, int] | None = None) -> int:
    """How many files of a dataset went: all of them, half-made ones too, or those `before` a revision of an epoch.

    A file of another epoch is before every revision of this one: its revisions can no longer be read.
    """
    gone = 0
    for path in list_files(export_folder(root, dataset)):
        named = REVISION_OF.match(path.name)
        if before is None or named is None or named[1] != before[0] or int(named[2]) < before[1]:
            # Another process may be quicker.
            with suppress(FileNotFoundError):
                path.unlink()
                gone += path.suffix != ".lock"
    return gone


def list_files(folder: Path) -> list[Path]:
    """The files of a folder and of those in it, where half-made ones may lie; none where there is no folder."""
    try:
        return [path for path in folder.rglob("*") if path.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []
