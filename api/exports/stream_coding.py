"""The content coding of a stream, piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import zstandard

from api.http.negotiation import GZIP_LEVEL, ZSTD_LEVEL

GZIP_WINDOW = 31  # zlib's word for the gzip format


def make_coder(coding: str) -> tuple[Callable[[bytes | memoryview], bytes | memoryview], Callable[[], bytes]]:
    """What encodes a piece, and what ends the encoding."""
    if coding == "identity":
        return lambda piece: piece, lambda: b""
    if coding == "zstd":
        zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        return zstd.compress, zstd.flush
    gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    return gzip.compress, gzip.flush
