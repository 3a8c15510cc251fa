"""What is packed in the landing zone, unpacked while it is read, and held to limits."""

from __future__ import annotations

import gzip
import lzma
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

import zstandard

from ingest.errors import SourceError, SourceTooLargeError, UnsafeArchiveError
from ingest.landing.landed_batch import LandedPart
from runtime.settings.settings import Settings

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
OS_METADATA_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
MEMBERS_SHOWN = 10


@dataclass(frozen=True)
class UnpackLimit:
    """The most that a part may become when it is unpacked: so many bytes, and so many times its own size."""

    size: int
    ratio: int = 100

    @classmethod
    def of(cls, settings: Settings) -> UnpackLimit:
        """The limit that the settings give."""
        return cls(settings.source_limit_bytes, settings.unpack_ratio)

    def of_packed(self, source: str, packed_bytes: int, floor: int = RATIO_FLOOR_BYTES) -> Allowance:
        """What a packed source of this size may become; below the floor its ratio does not matter."""
        return Allowance(source, self, max(packed_bytes * self.ratio, floor))


class Allowance:
    """What is left of a limit while a source is unpacked."""

    def __init__(self, source: str, limit: UnpackLimit, by_ratio: int) -> None:
        self.source = source
        self.limit = limit
        self.by_size = limit.size <= by_ratio
        self.left = min(limit.size, by_ratio)

    def take(self, size: int) -> None:
        """Takes note of bytes that have been unpacked; SourceTooLargeError past the limit."""
        self.left -= size
        if self.left < 0:
            raise SourceTooLargeError(
                f"{self.source} decompresses to more than {self.limit.size:,} bytes (DECANT_SOURCE_LIMIT_BYTES)."
                if self.by_size
                else f"{self.source} decompresses to more than {self.limit.ratio:,} times its size"
                f" (DECANT_UNPACK_RATIO)."
            )


class ByteStream(Protocol):
    """Whatever bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, none at the end."""


@contextmanager
def open_landed(part: LandedPart, limit: UnpackLimit) -> Iterator[ByteStream]:
    """The part's bytes, unpacked where they are gzip, zstd or a zip of one file, held to the limits."""
    allowance = limit.of_packed(part.name, part.size)
    with part.path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic in {ZIP_MAGIC, EMPTY_ZIP_MAGIC}:
            with open_member(file, part.name) as member:
                yield Measured(member, allowance)
        elif magic.startswith(GZIP_MAGIC):
            with gzip.open(file) as unpacked:
                yield Measured(unpacked, allowance)
        elif magic == ZSTD_MAGIC:
            yield Measured(ZstdStream(file), allowance)
        else:
            yield file


def open_member(file: BinaryIO, source: str) -> IO[bytes]:
    """The one file of a zip, opened; SourceError where the zip is damaged."""
    try:
        archive = zipfile.ZipFile(file)
        return archive.open(only_member(archive, source))
    except (*PACKING_ERRORS, NotImplementedError, RuntimeError, IndexError) as error:
        raise SourceError(f"{source}: the archive is damaged: {error}.") from error


@contextmanager
def open_landed_file(part: LandedPart, limit: UnpackLimit, folder: Path) -> Iterator[Path]:
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


def only_member(archive: zipfile.ZipFile, source: str) -> zipfile.ZipInfo:
    """The archive's one plain file; UnsafeArchiveError for links, for paths that climb, for several.

    What systems put into archives by themselves is no file of its own.
    """
    members = [member for member in archive.infolist() if not member.is_dir()]
    for member in members:
        parts = Path(member.filename.replace("\\", "/")).parts
        if stat.S_ISLNK(member.external_attr >> 16) or ".." in parts or member.filename.startswith(("/", "\\")):
            raise UnsafeArchiveError(
                f"{source}: the archive contains a link or a path outside the archive: {member.filename[:200]!r}."
            )
        if member.flag_bits & 1:
            raise UnsafeArchiveError(f"{source}: the archive is encrypted.")
    plain = [member for member in members if not is_os_metadata(member.filename)]
    if len(plain) != 1:
        names = ", ".join(repr(member.filename[:200]) for member in plain[:MEMBERS_SHOWN])
        more = ", …" if len(plain) > MEMBERS_SHOWN else ""
        listed = f": {names}{more}" if plain else ""
        raise UnsafeArchiveError(
            f"{source}: the archive must contain exactly one file; it contains {len(plain)}{listed}."
        )
    return plain[0]


def is_os_metadata(name: str) -> bool:
    """Whether a system has put the file into the archive by itself."""
    parts = Path(name.replace("\\", "/")).parts
    return "__MACOSX" in parts[:-1] or parts[-1].startswith("._") or parts[-1] in OS_METADATA_NAMES


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
            raise EOFError("it ends early")
        taken = bytes(self.ready[:size] if size >= 0 else self.ready)
        del self.ready[: len(taken)]
        return taken


class Measured:
    """A stream that refuses to give more than an honest archive would."""

    def __init__(self, stream: ByteStream, allowance: Allowance) -> None:
        self.stream = stream
        self.allowance = allowance

    def read(self, size: int = -1) -> bytes:
        """The next bytes; SourceTooLargeError past the limit."""
        # Even "everything" is read in bounded pieces: a bomb must not unpack before it is measured.
        most = self.allowance.left + 1
        try:
            chunk = self.stream.read(size if 0 <= size <= most else most)
        except PACKING_ERRORS as error:
            raise SourceError(f"{self.allowance.source}: the archive is damaged: {error}.") from error
        self.allowance.take(len(chunk))
        return chunk
