"""Text in any encoding -> a stream whose lines and structure are the bytes that readers look for."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager

from catalog.dataset import RawForm
from ingest.landing import ByteStream, LandedPart, open_landed

BLOCK_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
# The longer marks first: that of UTF-16 is the beginning of that of UTF-32.
WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
WITHOUT_MARK = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
UNREADABLE = "decant_unreadable"  # our name for what a decoder does about bytes that are no text


@contextmanager
def open_text(part: LandedPart, limit: int, form: RawForm, *, always: bool) -> Iterator[tuple[ByteStream, str]]:
    """The part's text, unpacked, and its encoding: UTF-8, or one that keeps ASCII where not `always`.

    A byte order mark says more than the contract: exports of spreadsheets are UTF-16 now and then.
    """
    with open_landed(part, limit) as stream:
        head = stream.read(4)
        wide = form.encoding.startswith(("utf-16", "utf-32"))
        mark = next((mark for mark in WIDE_MARKS if head.startswith(mark)), None)
        whole = Replayed(head, stream)
        if mark and (wide or form.encoding == "utf-8"):
            yield Transcoded(Replayed(head[len(mark) :], stream), WIDE_MARKS[mark]), "utf-8"
        elif wide or (always and form.encoding != "utf-8"):
            yield Transcoded(whole, WITHOUT_MARK.get(form.encoding, form.encoding)), "utf-8"
        else:
            yield whole, form.encoding


class Replayed:
    """A stream, after bytes that were read of it before."""

    def __init__(self, head: bytes, stream: ByteStream) -> None:
        self.head = head
        self.stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, none at the end."""
        head, self.head = self.head, b""
        return head + self.stream.read(size) if head else self.stream.read(size)


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
