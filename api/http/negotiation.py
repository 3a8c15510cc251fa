"""Which form an answer takes: media type by Accept, content coding by Accept-Encoding (RFC 9110)."""

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
HEADER_LIMIT_CHARACTERS = 2000


@dataclass(frozen=True)
class Form:
    """One way to write an answer down; `aliases` are other names for its media type."""

    name: str
    media_type: str  # as Content-Type says it
    aliases: tuple[str, ...] = ()
    coded: bool = True  # whether it gains from a content coding, and is never read in ranges

    @property
    def bare_type(self) -> str:
        """The media type without parameters."""
        return self.media_type.partition(";")[0]

    @property
    def types(self) -> tuple[str, ...]:
        """Every media type that asks for it."""
        return (self.bare_type, *self.aliases)


JSON = Form("json", "application/json")
CSV = Form("csv", "text/csv; charset=utf-8; header=present")
NDJSON = Form("ndjson", "application/x-ndjson", ("application/jsonl", "application/ndjson"))
YAML = Form("yaml", "application/yaml", ("text/yaml", "application/x-yaml"))


@lru_cache(maxsize=1000)
def choose_form(accept: str, forms: Sequence[Form]) -> Form:
    """The form that the caller likes best, ours first among equals; `not_acceptable` where there is none."""
    wishes = read_wishes(accept)
    rated = [(rate_form(form, wishes), -place) for place, form in enumerate(forms)]
    best, place = max(rated)
    if best <= 0:
        offered = ", ".join(form.bare_type for form in forms)
        raise Problem("not_acceptable", f"Offered here: {offered}.")
    return forms[-place]


def rate_form(form: Form, wishes: Sequence[tuple[str, float]]) -> float:
    """How much a form is wanted, 0 to 1: the most specific wish about it counts."""
    if not wishes:
        return 1.0
    ratings = []
    for media_type in form.types:
        general = media_type.partition("/")[0] + "/*"
        for rank, name in enumerate(("*/*", general, media_type)):
            ratings += [(rank, quality) for wish, quality in wishes if wish == name]
    return max(ratings)[1] if ratings else 0.0


@lru_cache(maxsize=1000)
def choose_coding(accept_encoding: str) -> str:
    """`zstd`, `gzip` or `identity`: the coding that the caller likes best of ours."""
    wishes = dict(read_wishes(accept_encoding))
    other = wishes.get("*", 0.0)
    rated = {name: wishes.get(name, other) for name in ("zstd", "gzip")}
    best = max(rated, key=lambda name: rated[name])
    return best if rated[best] > 0 else "identity"


def read_wishes(header: str) -> list[tuple[str, float]]:
    """(name, quality) of each member of an Accept or Accept-Encoding header; what cannot be read is left out."""
    wishes = []
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
        wishes.append((name, quality))
    return wishes


def encode_body(body: bytes, coding: str) -> bytes:
    """The body in a coding."""
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)
    # The same bytes for the same content: no time of day in the header.
    return gzip.compress(body, GZIP_LEVEL, mtime=0) if coding == "gzip" else body
