"""Content negotiation: media type by Accept, content coding by Accept-Encoding (RFC 9110)."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import zstandard

from api.http.problems import Problem

COMPRESSED_FROM_BYTES = 1024
GZIP_LEVEL = 5
ZSTD_LEVEL = 3
THOROUGH_LEVEL = 9  # of both: for what is compressed once and read often
HEADER_LIMIT_CHARACTERS = 2000


@dataclass(frozen=True)
class MediaType:
    """One way to write an answer down; `aliases` are other names for its media type."""

    name: str
    content_type: str  # as Content-Type says it
    aliases: tuple[str, ...] = ()
    coded: bool = True  # whether it gains from a content coding, and is never read in ranges

    @property
    def bare_type(self) -> str:
        """The media type without parameters."""
        return self.content_type.partition(";")[0]

    @property
    def types(self) -> tuple[str, ...]:
        """Every media type that asks for it."""
        return (self.bare_type, *self.aliases)


JSON = MediaType("json", "application/json")
CSV = MediaType("csv", "text/csv; charset=utf-8; header=present")
NDJSON = MediaType("ndjson", "application/x-ndjson", ("application/jsonl", "application/ndjson"))
YAML = MediaType("yaml", "application/yaml", ("text/yaml", "application/x-yaml"))


@lru_cache(maxsize=1000)
def choose_media_type(accept: str, media_types: Sequence[MediaType]) -> MediaType:
    """The form that the caller likes best, ours first among equals; `not_acceptable` where there is none."""
    preferences = read_preferences(accept)
    rated = [(rate_media_type(media_type, preferences), -index) for index, media_type in enumerate(media_types)]
    best, index = max(rated)
    if best <= 0:
        offered = ", ".join(media_type.bare_type for media_type in media_types)
        raise Problem("not_acceptable", f"Available: {offered}.")
    return media_types[-index]


def rate_media_type(media_type: MediaType, preferences: Sequence[tuple[str, float]]) -> float:
    """The quality value of a media type, 0 to 1; the most specific range decides."""
    if not preferences:
        return 1.0
    ratings = []
    for type_name in media_type.types:
        general = type_name.partition("/")[0] + "/*"
        for rank, name in enumerate(("*/*", general, type_name)):
            ratings += [(rank, quality) for preference, quality in preferences if preference == name]
    return max(ratings)[1] if ratings else 0.0


@lru_cache(maxsize=1000)
def choose_coding(accept_encoding: str) -> str:
    """`zstd`, `gzip` or `identity`: the coding that the caller likes best of ours."""
    preferences = dict(read_preferences(accept_encoding))
    other = preferences.get("*", 0.0)
    rated = {name: preferences.get(name, other) for name in ("zstd", "gzip")}
    best = max(rated, key=lambda name: rated[name])
    return best if rated[best] > 0 else "identity"


def read_preferences(header: str) -> list[tuple[str, float]]:
    """(name, quality) of each member of an Accept or Accept-Encoding header; what cannot be read is left out."""
    preferences = []
    for member in header[:HEADER_LIMIT_CHARACTERS].split(","):
        name, *parameters = (part.strip() for part in member.lower().split(";"))
        if not name:
            continue
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    quality = 0.0
        preferences.append((name, quality))
    return preferences


def encode_body(body: bytes, coding: str, *, thorough: bool = False) -> bytes:
    """The body in a coding."""
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=THOROUGH_LEVEL if thorough else ZSTD_LEVEL).compress(body)
    # The same bytes for the same content: no time of day in the header.
    level = THOROUGH_LEVEL if thorough else GZIP_LEVEL
    return gzip.compress(body, level, mtime=0) if coding == "gzip" else body
