"""Files below the folder of a `local` server."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from catalog.dataset import Input
from ingest.errors import PathOutsideRootError, SourceError, SourceMissingError
from ingest.inputs.batch import InputPlace, RawBatch, one_part

CHUNK_BYTES = 1 << 20


@contextmanager
def open_file_batch(place: InputPlace) -> Iterator[RawBatch]:
    """The bytes of the input's file, packed or not, as they lie there."""
    source = place.source
    try:
        path = resolve_path(source)
        # Looked at before it is opened: a pipe would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"{source.path!r} is no file.")
        with path.open("rb") as file:
            name = source.path or path.name
            size = os.fstat(file.fileno()).st_size
            yield RawBatch(name, one_part(name, read_chunks(file), size), size)
    except FileNotFoundError:
        raise SourceMissingError(f"There is no file {source.path!r} in {source.root!r}.") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "its path is no path"
        raise SourceError(f"The file {source.path!r} cannot be read: {reason}.") from None


def resolve_path(source: Input) -> Path:
    """The file's real path; PathOutsideRootError where it, or a link on its way, leads out of the root."""
    root = Path(source.root or ".").resolve()
    path = (root / (source.path or "").lstrip("/")).resolve()
    if not path.is_relative_to(root):
        raise PathOutsideRootError(f"The path {source.path!r} leads out of {source.root!r}.")
    return path


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes, a megabyte at a time."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
