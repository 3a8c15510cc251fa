"""Text in any encoding -> a stream whose lines and structure are the bytes that readers look for."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from catalog.model.dataset import FileFormat
from ingest.landing.landed_batch import LandedPart
from ingest.landing.unpacking import ByteStream, UnpackLimit, open_landed
from ingest.readers.signature import refuse_other_format

BLOCK_BYTES = 1 << 20
LOOK_AHEAD_BYTES = 1 << 20  # so much is read to detect line ends
BOM = b"\xef\xbb\xbf"
# The longer marks first: that of UTF-16 is the beginning of that of UTF-32.
WIDE_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
WITHOUT_BOM = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
UNREADABLE = "decant_unreadable"  # our name for what a decoder does about bytes that are no text
# What encodings of several bytes or with shift sequences do not read byte by byte.
PROBE = bytes(range(256)) + bytes(range(255, -1, -1)) + b'\x1b$B$"\x1b(B +AOk- ~{<:~}'


@dataclass(frozen=True)
class OpenText:
    """A text that is open: its bytes, and how they are to be understood."""

    stream: ByteStream
    encoding: str  # of the stream: UTF-8, or one in which each byte is one character
    written: str  # of the source, for messages
    line_end: bytes  # a line feed, or a carriage return where the text has no line feed

    @property
    def is_transcoded(self) -> bool:
        """Whether the stream's bytes are not the source's."""
        return self.encoding != self.written


@contextmanager
def open_text(
    part: LandedPart, limit: UnpackLimit, file_format: FileFormat, *, always: bool, anything: bool = False
) -> Iterator[OpenText]:
    """The part's text, unpacked: in UTF-8, or where not `always` in an encoding that has one byte per character.

    A byte order mark says more than the contract: exports of spreadsheets are UTF-16 now and then. Marks at the
    start are dropped, however many. SourceError where the bytes are plainly of another format, and not
    `anything` is taken.
    """
    with open_landed(part, limit) as packed:
        head = read_fully(packed, 4)
        wide = file_format.encoding.startswith(("utf-16", "utf-32"))
        bom = next((bom for bom in WIDE_BOMS if head.startswith(bom)), None)
        stream: ByteStream
        if bom and (wide or file_format.encoding == "utf-8"):
            encoding, written = "utf-8", WIDE_BOMS[bom]
            stream = Transcoded(Replayed(head[len(bom) :], packed), written)
        else:
            head = look_ahead(packed, head)
            if not anything:
                refuse_other_format(part.name, head, file_format, said_wide=wide)
            stream, encoding, written = Replayed(head, packed), file_format.encoding, file_format.encoding
            if wide or (encoding != "utf-8" and (always or not is_bytewise(encoding))):
                stream, encoding = Transcoded(stream, WITHOUT_BOM.get(written, written)), "utf-8"
        start = look_ahead(stream, b"")
        while start.startswith(BOM) and encoding == "utf-8":
            start = start[len(BOM) :] or look_ahead(stream, b"")
        line_end = b"\r" if b"\r" in start and b"\n" not in start else b"\n"
        yield OpenText(Replayed(start, stream), encoding, written, line_end)


def read_fully(stream: ByteStream, size: int) -> bytes:
    """That many bytes; fewer only at the end."""
    found = b""
    while len(found) < size and (chunk := stream.read(size - len(found))):
        found += chunk
    return found


def look_ahead(stream: ByteStream, head: bytes) -> bytes:
    """What was read before and the bytes behind it, as many as it takes to know what ends a line."""
    pieces, size = [head], len(head)
    while (not size or b"\n" not in pieces[-1]) and size < LOOK_AHEAD_BYTES:
        chunk = stream.read(BLOCK_BYTES)
        if not chunk:
            break
        pieces.append(chunk)
        size += len(chunk)
    return b"".join(pieces)


@cache
def is_bytewise(encoding: str) -> bool:
    """Whether each byte is one character, whatever precedes it."""
    alone = "".join(bytes([byte]).decode(encoding, "replace") for byte in PROBE)
    return PROBE.decode(encoding, "replace") == alone


class Replayed:
    """A stream, after bytes that were read of it before."""

    def __init__(self, head: bytes, stream: ByteStream) -> None:
        self.head = head
        self.stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, none at the end."""
        if not self.head:
            return self.stream.read(size)
        taken = self.head if size < 0 else self.head[:size]
        self.head = self.head[len(taken) :]
        return taken if size >= 0 else taken + self.stream.read(size)


class Transcoded:
    """A text of another encoding, as UTF-8.

    What is no text in its encoding becomes a byte that is no UTF-8 either: its record is rejected, and no other.
    """

    def __init__(self, stream: ByteStream, encoding: str) -> None:
        codecs.register_error(UNREADABLE, lambda error: ("\udcff", getattr(error, "end", 0)))
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)(UNREADABLE)
        self.ended = False

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, about as many as asked for; none at the end."""
        while not self.ended:
            chunk = self.stream.read(size if size > 0 else BLOCK_BYTES)
            self.ended = not chunk
            if text := self.decoder.decode(chunk, self.ended):
                return text.encode("utf-8", "surrogateescape")
        return b""
