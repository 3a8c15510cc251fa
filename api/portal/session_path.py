"""Where the API's own answers stand for who is signed in, since the API itself reads no cookie."""

from __future__ import annotations

PREFIX = "/session"


def api_path(address: str, *, signed_in: bool) -> str:
    """Where a page's link to an answer of the API leads: for who is signed in, to where the session opens it."""
    return PREFIX + address if signed_in else address
