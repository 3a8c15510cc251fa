"""Streaming scanner for JSON documents of any size, value by value, without validating their content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ingest.errors import SourceError
from ingest.landing.unpacking import ByteStream
from ingest.readers.record_writer import RECORD_LIMIT_BYTES, show_raw

BLOCK_BYTES = 1 << 20
TEXT_LIMIT_BYTES = 64 << 20  # a longer text within quotes has no end
DEPTH_AT_ONCE = 6  # values nested deeper are looked at piece by piece
TEXT = rb'"(?:[^"\\]++|\\.)*+"'
SPACE = re.compile(rb"[ \t\r\n]*+")
SCALAR = re.compile(rb'[^\[\]{},:" \t\r\n]++')
PIECE = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{}]', re.DOTALL)
WHOLE_TEXT = re.compile(TEXT, re.DOTALL)


def match_nested(depth: int) -> bytes:
    """A pattern for what is in brackets, with brackets within up to so deep; linear, it never goes back."""
    inner = rb"|" + match_nested(depth - 1) if depth else b""
    return rb'[\[{](?:[^"\[\]{}]++|' + TEXT + inner + rb")*+[\]}]"


NESTED = re.compile(match_nested(DEPTH_AT_ONCE), re.DOTALL)


class JsonScanner:
    """Where in the document we are: `buffer` from `start` on has not been taken yet."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.buffer = b""
        self.start = 0
        self.passed = 0  # bytes before the buffer
        self.ended = False

    def fill(self) -> bool:
        """Reads on; false at the end."""
        if self.ended:
            return False
        chunk = self.stream.read(BLOCK_BYTES)
        self.ended = not chunk
        self.passed += self.start
        self.buffer = self.buffer[self.start :] + chunk
        self.start = 0
        return not self.ended

    def position(self) -> str:
        """Where we are, for a person."""
        return f"byte {self.passed + self.start + 1:,}"

    def broken(self, what: str) -> SourceError:
        """The error of a document that is broken here."""
        found = "it ends early" if self.start >= len(self.buffer) else f"there is {self.show()}"
        return SourceError(f"The JSON document is invalid at {self.position()}: {what} is expected, but {found}.")

    def show(self) -> str:
        """What comes next, for a person."""
        return repr(show_raw(self.buffer[self.start : self.start + 20]))

    def peek(self) -> bytes:
        """The next byte that is no blank; nothing at the end."""
        while True:
            match = SPACE.match(self.buffer, self.start)
            self.start = match.end() if match else self.start
            if self.start < len(self.buffer):
                return self.buffer[self.start : self.start + 1]
            if not self.fill():
                return b""

    def expect(self, byte: bytes, what: str) -> None:
        """Takes one byte; SourceError where it is another."""
        if self.peek() != byte:
            raise self.broken(what)
        self.start += 1

    def items(self) -> Iterator[None]:
        """Stops before each item of the array, which must then be taken or skipped."""
        self.expect(b"[", "an array")
        if self.peek() == b"]":
            self.start += 1
            return
        while True:
            yield
            if self.peek() == b"]":
                self.start += 1
                return
            self.expect(b",", "a comma or the array's end")

    def members(self) -> Iterator[str]:
        """Each key of the object; its value must then be taken or skipped."""
        return map(read_key, self.raw_members())

    def raw_members(self) -> Iterator[bytes]:
        """Each key of the object as it is written, in quotes; its value must then be taken or skipped."""
        self.expect(b"{", "an object")
        if self.peek() == b"}":
            self.start += 1
            return
        while True:
            if self.peek() != b'"':
                raise self.broken("a key in quotes")
            key = self.take()
            self.expect(b":", "a colon")
            yield key
            if self.peek() == b"}":
                self.start += 1
                return
            self.expect(b",", "a comma or the object's end")

    def take(self) -> bytes:
        """The next value's text; of one that is longer than a record may be, a beginning that is too long too."""
        first = self.peek()
        if first in (b"{", b"["):
            if match := NESTED.match(self.buffer, self.start):
                self.start = match.end()
                return match[0]
            return b"".join(self.pieces(RECORD_LIMIT_BYTES + 1))
        if first == b'"':
            return self.take_text()
        return self.take_scalar()

    def skip(self) -> None:
        """Passes over the next value, whatever its size."""
        if self.peek() in (b"{", b"["):
            for _ in self.pieces(0):
                pass
        else:
            self.take()

    def take_text(self) -> bytes:
        """The text in quotes that begins here."""
        while True:
            if match := WHOLE_TEXT.match(self.buffer, self.start):
                self.start = match.end()
                return match[0]
            self.read_on_in_text()

    def take_scalar(self) -> bytes:
        """The number or word that begins here."""
        while True:
            match = SCALAR.match(self.buffer, self.start)
            end = match.end() if match else self.start
            if end < len(self.buffer) or not self.fill():
                break
            if len(self.buffer) > TEXT_LIMIT_BYTES:
                raise self.broken("a complete value")
        if not match or end == self.start:
            raise self.broken("a value")
        text = self.buffer[self.start : end]
        self.start = end
        return text

    def read_on_in_text(self) -> None:
        """Reads on where the buffer ends within a text; SourceError where it never ends."""
        if len(self.buffer) - self.start > TEXT_LIMIT_BYTES or not self.fill():
            raise SourceError(
                f"The JSON document is invalid: the text that begins at {self.position()} is not closed."
            )

    def pieces(self, keep: int) -> Iterator[bytes]:
        """The value in brackets that begins here, piece by piece as it is read; its first `keep` bytes."""
        depth = 0
        begun = self.start
        while True:
            match = PIECE.search(self.buffer, self.start)
            if match and (match[1] or not match[0].startswith(b'"')):
                self.start = match.end()
                if match[0] in b"[{":
                    depth += 1
                elif match[0] in b"]}":
                    depth -= 1
                    if not depth:
                        yield self.buffer[begun : self.start][:keep]
                        return
                continue
            # What has been looked at may go; a text that has only begun is looked at again.
            self.start = match.start() if match else len(self.buffer)
            piece = self.buffer[begun : self.start][:keep]
            keep -= len(piece)
            yield piece
            if match:
                self.read_on_in_text()
            elif not self.fill():
                raise self.broken("the end of an array or object")
            begun = self.start


def read_key(text: bytes) -> str:
    """A key, as text."""
    try:
        return str(json.loads(text))
    except ValueError:
        return show_raw(text)
