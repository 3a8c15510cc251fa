"""Objects as files of the home folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from errno import EXDEV
from pathlib import Path
from secrets import token_hex

from catalog.storage.object_store import Placed, StoredObject
from runtime.private_files import make_private_folder


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
        try:
            return Placed(draft.replace(path), is_first=True)
        except OSError as error:
            if error.errno != EXDEV:
                raise
        copy_beside(draft, path).replace(path)
        draft.unlink()
        return Placed(path, is_first=True)

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


def copy_beside(draft: Path, path: Path) -> Path:
    """A copy of a draft that lies on another disk, on that of the path: a draft again, to be renamed."""
    copy = path.with_name(f"{path.name}.{token_hex(8)}.part")
    try:
        shutil.copyfile(draft, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return copy
