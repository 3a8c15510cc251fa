"""Detects files of another format than the contract declares, by their first bytes."""

from __future__ import annotations

import re

from catalog.model.dataset import FileFormat
from catalog.model.file_formats import recognize_format
from ingest.errors import SourceError

LOOKED_AT = 4096
TAR_MAGIC_OFFSET = 257  # where a tar archive names itself
# What a file begins with, and what such a file is.
BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Office file (.xls or .doc), which is not supported: save it as XLSX or CSV",
    ),
    (b"\xfd7zXZ\x00", "compressed with xz, which is not supported: use gzip, zstd or zip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive, which is not supported: use gzip, zstd or zip"),
    (b"Rar!\x1a\x07", "a RAR archive, which is not supported: use gzip, zstd or zip"),
    (b"\x04\x22\x4d\x18", "compressed with lz4, which is not supported: use gzip, zstd or zip"),
    (b"%PDF-", "a PDF document, which is not supported"),
    (b"SQLite format 3\x00", "an SQLite database: use a server of type sqlite"),
    (b"ORC\n", "an ORC file, which is not supported"),
    (b"ARROW1", "an Arrow file, which is not supported: save it as Parquet"),
    (b"Obj\x01", "an Avro file, which is not supported"),
    (b"\x1f\x9d", "compressed with compress (.Z), which is not supported: use gzip, zstd or zip"),
    (b"\x1f\x8b", "compressed twice: decompress it once"),
    (b"\x28\xb5\x2f\xfd", "compressed twice: decompress it once"),
)
BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
HTML = re.compile(
    rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|table)\b", re.I | re.DOTALL
)
XML = re.compile(rb"<\?xml\s")


def name_format(head: bytes) -> str | None:
    """What a file that begins so plainly is, in words for after "is"; None where that is not plain."""
    for beginning, words in BEGINNINGS:
        if head.startswith(beginning):
            return words
    if BZIP2.match(head):
        return "compressed with bzip2, which is not supported: use gzip, zstd or zip"
    if head[TAR_MAGIC_OFFSET : TAR_MAGIC_OFFSET + 5] == b"ustar":
        return "a tar archive, which is not supported: use a zip of one file"
    text = head[:LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip()
    if HTML.match(text):
        return "an HTML page, which is not supported: save its table as CSV or XLSX"
    if XML.match(text):
        return "an XML document, which is not supported"
    return None


def refuse_other_format(source: str, head: bytes, file_format: FileFormat, *, said_wide: bool = False) -> None:
    """SourceError where what should be text is plainly something else."""
    words = name_format(head)
    if words is None and (other := recognize_format(head)):
        words = f"{other.noun}, but the contract's format is {file_format.format}"
    if words is None and not said_wide and (wide := guess_wide(head)):
        words = f"{wide} without a byte order mark: set `encoding: {wide}` in the input"
    if words is not None:
        raise SourceError(f"{source} is {words}.")


def guess_wide(head: bytes) -> str | None:
    """The encoding of a text in which every other byte is NUL; None where it is none."""
    looked = head[: LOOKED_AT // 2 * 2]
    looked = looked[: len(looked) // 2 * 2]
    if len(looked) < 4:
        return None
    even, odd = looked[::2].count(0), looked[1::2].count(0)
    half = len(looked) // 2
    if odd * 2 > half and not even:
        return "utf-16-le"
    return "utf-16-be" if even * 2 > half and not odd else None
