"""The landing zone: raw batches as they came, under their SHA-256, unpacked only while they are read."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

import zstandard

from catalog.dataset import RawForm
from ingest.errors import SourceError, SourceMissingError, SourceTooLargeError, UnsafeArchiveError
from ingest.raw import RawBatch, RawPart

RATIO_LIMIT = 100  # an archive may unpack to this many times its size
RATIO_FLOOR_BYTES = 10_000_000  # below it, the ratio does not matter
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
WORKBOOK_MEMBER = "[Content_Types].xml"  # a zip that holds it is no archive but a workbook
COPY_BYTES = 1 << 20
PACKING_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    EOFError,
    OSError,
    ValueError,
)
ZIP_MAGIC = b"PK\x03\x04"
EMPTY_ZIP_MAGIC = b"PK\x05\x06"


class ByteStream(Protocol):
    """Whatever bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, none at the end."""


@dataclass(frozen=True)
class LandedPart:
    """One part of a raw batch in the landing zone."""

    name: str
    sha256: str
    path: Path
    size: int  # bytes, as it came
    form: RawForm | None = None  # how it is cut, where not as the input says


@dataclass(frozen=True)
class LandedBatch:
    """A raw batch in the landing zone; that of one part has its part's digest."""

    sha256: str
    parts: tuple[LandedPart, ...]


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
    folder.mkdir(parents=True, exist_ok=True)
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
                path.parent.mkdir(exist_ok=True)
                file.flush()
                os.fsync(file.fileno())
                # A rename is whole or has not happened: nobody ever sees half a batch under its digest.
                draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return LandedPart(part.name, sha256, path, size, part.form)


def note_parts(landed: LandedBatch) -> list[dict[str, Any]]:
    """The parts as the ledger keeps them."""
    return [
        {"name": part.name, "sha256": part.sha256, "size": part.size, "form": part.form and asdict(part.form)}
        for part in landed.parts
    ]


def recall(folder: Path, parts: Iterable[Mapping[str, Any]]) -> LandedBatch:
    """A batch that was landed before, from what the ledger keeps of it; SourceMissingError where it is gone."""
    found = []
    for part in parts:
        path = locate(folder, part["sha256"])
        if not path.is_file():
            raise SourceMissingError(f"The raw batch {part['sha256'][:12]} is no longer in the landing zone.")
        form = part.get("form")
        if form and form["columns"] is not None:
            form = form | {"columns": tuple(form["columns"])}
        found.append(LandedPart(part["name"], part["sha256"], path, part["size"], RawForm(**form) if form else None))
    return LandedBatch(digest_parts(found), tuple(found))


def locate(folder: Path, sha256: str) -> Path:
    """Where the batch with this digest lies."""
    return folder / sha256[:2] / sha256


@contextmanager
def open_landed(part: LandedPart, limit: int) -> Iterator[ByteStream]:
    """The part's bytes, unpacked where they are gzip, zstd or a zip of one file, held to the limits."""
    with part.path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic in {ZIP_MAGIC, EMPTY_ZIP_MAGIC}:
            with open_member(file) as member:
                yield Measured(member, part.size, limit)
        elif magic.startswith(GZIP_MAGIC):
            with gzip.open(file) as unpacked:
                yield Measured(unpacked, part.size, limit)
        elif magic == ZSTD_MAGIC:
            yield Measured(ZstdStream(file), part.size, limit)
        else:
            yield file


def open_member(file: BinaryIO) -> IO[bytes]:
    """The one file of a zip, opened; SourceError where the zip is damaged."""
    try:
        archive = zipfile.ZipFile(file)
        return archive.open(only_member(archive))
    except (*PACKING_ERRORS, NotImplementedError, RuntimeError, IndexError) as error:
        raise SourceError(f"The archive is damaged: {error}.") from error


@contextmanager
def open_landed_file(part: LandedPart, limit: int, folder: Path) -> Iterator[Path]:
    """The part as a file, for readers that must jump about in it: unpacked into `folder` where it is packed."""
    with part.path.open("rb") as file:
        magic = file.read(4)
    packed = magic in {ZIP_MAGIC, EMPTY_ZIP_MAGIC, ZSTD_MAGIC} or magic.startswith(GZIP_MAGIC)
    if not packed or holds_workbook(part.path):
        yield part.path
        return
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="unpacked-")
    try:
        with open(descriptor, "wb") as target, open_landed(part, limit) as stream:
            while chunk := stream.read(COPY_BYTES):
                target.write(chunk)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def holds_workbook(path: Path) -> bool:
    """Whether the file is a zip that is a workbook itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            return WORKBOOK_MEMBER in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, IndexError):
        return False


def only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The archive's one plain file; UnsafeArchiveError for links, for paths that climb, for several."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        parts = Path(member.filename.replace("\\", "/")).parts
        if stat.S_ISLNK(member.external_attr >> 16) or ".." in parts or member.filename.startswith(("/", "\\")):
            raise UnsafeArchiveError(
                f"The archive holds a link or a path that climbs out of it: {member.filename!r}."
            )
        if member.flag_bits & 1:
            raise UnsafeArchiveError("The archive is encrypted.")
    if len(members) != 1:
        raise UnsafeArchiveError(f"The archive must hold exactly one file; it holds {len(members)}.")
    return members[0]


class ZstdStream:
    """What zstd has packed, in one frame or several; a frame that breaks off is an error, not an end."""

    FEED_BYTES = 1024  # a frame of zeros becomes 30,000 times as much: fed little by little

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        self.frame = self.unpacker.decompressobj()
        self.begun = False  # whether the frame has any bytes yet
        self.ready = bytearray()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, none at the end; EOFError in the middle of a frame."""
        while not self.ready and (packed := self.file.read(self.FEED_BYTES)):
            while packed:
                self.ready += self.frame.decompress(packed)
                self.begun = not self.frame.eof
                packed = self.frame.unused_data if self.frame.eof else b""
                if self.frame.eof:
                    self.frame = self.unpacker.decompressobj()
        if not self.ready and self.begun:
            raise EOFError("it breaks off")
        taken = bytes(self.ready[:size] if size >= 0 else self.ready)
        del self.ready[: len(taken)]
        return taken


class Measured:
    """A stream that refuses to give more than an honest archive would."""

    def __init__(self, stream: ByteStream, packed_bytes: int, limit: int) -> None:
        self.stream = stream
        self.left = min(limit, max(packed_bytes * RATIO_LIMIT, RATIO_FLOOR_BYTES))

    def read(self, size: int = -1) -> bytes:
        """The next bytes; SourceTooLargeError past the limit."""
        # Even "everything" is read in bounded pieces: a bomb must not unpack before it is measured.
        try:
            chunk = self.stream.read(size if 0 <= size <= self.left + 1 else self.left + 1)
        except PACKING_ERRORS as error:
            raise SourceError(f"The archive is damaged: {error}.") from error
        self.left -= len(chunk)
        if self.left < 0:
            raise SourceTooLargeError()
        return chunk
