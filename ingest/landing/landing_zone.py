"""The landing zone: raw batches as they came, under their SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from catalog.model.dataset import FileFormat
from ingest.errors import SourceMissingError, SourceTooLargeError
from ingest.landing.landed_batch import LandedBatch, LandedPart
from ingest.landing.raw import RawBatch, RawPart
from ingest.ledger.landed_note import PartNote
from runtime.private_files import make_private_folder


def land(
    batch: RawBatch, folder: Path, limit: int, advance: Callable[[int], None], drafts: Path | None = None
) -> LandedBatch:
    """The batch, each part written under its SHA-256; the same bytes again are kept once.

    What has not come whole yet lies in `drafts`, on the same file system. SourceTooLargeError once more than `limit`
    bytes have come.
    """
    parts: list[LandedPart] = []
    left = limit
    for part in batch.parts:
        parts.append(land_part(part, folder, left, advance, drafts))
        left -= parts[-1].size
    return LandedBatch(digest_parts(parts), tuple(parts))


def digest_parts(parts: Sequence[LandedPart]) -> str:
    """The SHA-256 of a whole batch, from its parts' names and digests."""
    if len(parts) == 1:
        return parts[0].sha256
    lines = [[part.name, part.sha256] for part in parts]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def land_part(
    part: RawPart, folder: Path, limit: int, advance: Callable[[int], None], drafts: Path | None = None
) -> LandedPart:
    """One part, written under its SHA-256."""
    make_private_folder(folder)
    digest = hashlib.sha256()
    size = 0
    descriptor, name = tempfile.mkstemp(dir=drafts or folder, prefix="incoming-")
    draft = Path(name)
    try:
        with open(descriptor, "wb") as file:
            for chunk in part.chunks:
                size += len(chunk)
                if size > limit:
                    raise SourceTooLargeError()
                digest.update(chunk)
                file.write(chunk)
                advance(len(chunk))
            sha256 = digest.hexdigest()
            path = locate(folder, sha256)
            if not path.is_file():
                make_private_folder(path.parent)
                file.flush()
                os.fsync(file.fileno())
                # A rename is whole or has not happened: nobody ever sees half a batch under its digest.
                draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return LandedPart(part.name, sha256, path, size, part.file_format)


def note_parts(landed: LandedBatch) -> list[PartNote]:
    """The parts as the ledger keeps them."""
    return [
        {
            "name": part.name,
            "sha256": part.sha256,
            "size": part.size,
            "form": asdict(part.file_format) if part.file_format else None,
        }
        for part in landed.parts
    ]


def recall(folder: Path, parts: Iterable[PartNote]) -> LandedBatch:
    """A batch that was landed before, from what the ledger keeps of it; SourceMissingError where it is gone."""
    found = []
    for part in parts:
        path = locate(folder, part["sha256"])
        if not path.is_file():
            raise SourceMissingError(f"The raw batch {part['sha256'][:12]} is no longer in the landing zone.")
        file_format = part.get("form")
        if file_format and file_format["columns"] is not None:
            file_format = file_format | {"columns": tuple(file_format["columns"])}
        found.append(
            LandedPart(
                part["name"], part["sha256"], path, part["size"], FileFormat(**file_format) if file_format else None
            )
        )
    return LandedBatch(digest_parts(found), tuple(found))


def locate(folder: Path, sha256: str) -> Path:
    """Where the batch with this digest lies."""
    return folder / sha256[:2] / sha256
