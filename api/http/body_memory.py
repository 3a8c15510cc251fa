"""Bodies of requests: unpacked piece by piece within limits, and bounded in memory over all requests of a process."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request

from api.http.media_types import unsupported
from api.http.problems import Problem
from api.http.security_events import caller_address, note_event

PIECE_BYTES = 262_144  # that are unpacked at a time, so that other requests have their turn
RATIO_LIMIT = 100  # how many times its own size a body may unpack to
RATIO_FREE_BYTES = 1_000_000  # up to which it does not matter
HELD_PER_BYTE = 3  # that a body may take: as the database gets it, each sign may be two


class BodyMemory:
    """What the bodies of pushes may take together, from their first byte to the answer."""

    def __init__(self, limit: int, largest: int) -> None:
        self.left = max(limit, HELD_PER_BYTE * largest)  # one body of the largest size always has room

    def hold(self) -> HeldBytes:
        """The account of one request."""
        return HeldBytes(self)


class HeldBytes:
    """What one request holds; given back at the end of the context."""

    def __init__(self, memory: BodyMemory) -> None:
        self.memory = memory
        self.size = 0

    def take(self, size: int) -> None:
        """Holds so many bytes more; `overloaded` where they are not to be had: nobody waits for another's body."""
        if size > self.memory.left:
            note_event("push_refused", bytes=self.size + size)
            raise Problem("overloaded", headers={"Connection": "close"})
        self.memory.left -= size
        self.size += size

    def __enter__(self) -> HeldBytes:
        return self

    def __exit__(self, *_: object) -> None:
        self.memory.left += self.size
        self.size = 0


async def read_body(request: Request, limit: int, held: HeldBytes | None = None) -> bytes:
    """The body, unpacked; `body_too_large` as soon as it is, whatever is still to come."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        refuse_large(limit)
    unpack = choose_unpacking(request.headers.get("content-encoding", "identity"))
    chunks: list[bytes] = []
    size = packed = 0
    try:
        async for packed_chunk in request.stream():
            packed += len(packed_chunk)
            for chunk in unpack.pieces(packed_chunk):
                size += len(chunk)
                if size > limit or packed > limit:
                    refuse_large(limit)
                if size > max(RATIO_FREE_BYTES, RATIO_LIMIT * packed):
                    refuse_bomb(request)
                if held is not None:
                    held.take(len(chunk))
                chunks.append(chunk)
                if len(chunk) == PIECE_BYTES:
                    await asyncio.sleep(0)
    except ClientDisconnect:
        raise Problem("bad_request", "The body is incomplete.") from None
    unpack.end()
    return b"".join(chunks)


def refuse_large(limit: int) -> NoReturn:
    """The problem with a body over the limit; the connection ends with it, so that the rest is not read."""
    raise Problem("body_too_large", f"The body is longer than {limit:,} bytes.", headers={"Connection": "close"})


def refuse_bomb(request: Request) -> NoReturn:
    """The problem with a small body that unpacks to a very large one."""
    note_event("bomb_refused", address=caller_address(request))
    message = f"The body decompresses to more than {RATIO_LIMIT} times its size."
    raise Problem("body_too_large", message, headers={"Connection": "close"})


class Plain:
    """A body as it came."""

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk."""
        yield chunk

    def end(self) -> None:
        """Nothing."""


class Gzip:
    """Unpacks a gzip body piece by piece."""

    def __init__(self) -> None:
        self.decoder = zlib.decompressobj(wbits=31)

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk unpacks to, in pieces that are never longer than PIECE_BYTES."""
        if self.decoder.eof and chunk:
            raise Problem("bad_request", "The gzip body is followed by more bytes.")
        more = bool(chunk)
        while more:
            try:
                piece = self.decoder.decompress(chunk, PIECE_BYTES)
            except zlib.error:
                raise Problem("bad_request", "The body is not valid gzip.") from None
            if self.decoder.unused_data:
                raise Problem("bad_request", "The gzip body is followed by more bytes.")
            chunk = self.decoder.unconsumed_tail
            # What the decoder still holds comes with the next call, though it has been given everything.
            more = bool(chunk) or (len(piece) == PIECE_BYTES and not self.decoder.eof)
            yield piece

    def end(self) -> None:
        """A problem for a body that was cut off."""
        if not self.decoder.eof:
            raise Problem("bad_request", "The gzip body is incomplete.")


def choose_unpacking(coding: str) -> Plain | Gzip:
    """What undoes a content coding; `unsupported_media_type` for one that is not taken."""
    word = coding.strip().lower()
    if word in {"gzip", "x-gzip"}:
        return Gzip()
    if word in {"identity", ""}:
        return Plain()
    problem = unsupported(f"the content coding {word} is not supported")
    problem.headers["Accept-Encoding"] = "gzip, identity"
    raise problem
