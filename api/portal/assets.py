"""The files that pages are made of: each at an address that names its content, so that it never changes."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from api.http.negotiation import encode_body

FOLDER = Path(__file__).resolve().parent / "static"
DIGEST_CHARACTERS = 12
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """One file."""

    name: str  # with the digest of its content
    body: bytes
    media_type: str


@cache
def all_assets() -> dict[str, Asset]:
    """The files by their plain names."""
    found = {}
    for file in sorted(FOLDER.iterdir()):
        if file.suffix not in MEDIA_TYPES:
            continue
        body = file.read_bytes()
        digest = hashlib.sha256(body).hexdigest()[:DIGEST_CHARACTERS]
        found[file.name] = Asset(f"{file.stem}.{digest}{file.suffix}", body, MEDIA_TYPES[file.suffix])
    return found


@cache
def served_assets() -> dict[str, Asset]:
    """The files by the names that their addresses have."""
    return {asset.name: asset for asset in all_assets().values()}


@cache
def encoded_asset(name: str, coding: str) -> bytes:
    """A file as it is sent: compressed once for each coding."""
    body = served_assets()[name].body
    return body if coding == "identity" else encode_body(body, coding)


def asset_path(name: str) -> str:
    """The path of a file; KeyError where there is none of that name."""
    return f"/assets/{all_assets()[name].name}"
