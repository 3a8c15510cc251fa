"""Request paths, split at slashes before percent-decoding: an encoded slash is data, never a separator."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

SLASH = "%2F"


def decode_path(raw_path: bytes) -> str:
    """The path that routes are found by, with every slash that was encoded left so.

    What is no UTF-8, overlong forms included, is nobody's name: its bytes become the replacement character.
    """
    return "/".join(
        unquote_to_bytes(segment).decode("utf-8", "replace").replace("/", SLASH) for segment in raw_path.split(b"/")
    )
