"""API keys, and the headers that they are sent in."""

from __future__ import annotations

from datetime import datetime

from api.auth.api_keys import create_key
from runtime.settings.secret import read_secret
from tests.support.lab import Lab


def make_key(lab: Lab, *scopes: str, expires: datetime | None = None, name: str = "test") -> str:
    """A new key."""
    return create_key(lab.find_writer(), read_secret(lab.settings), name, scopes, expires)


def key_of(lab: Lab, *scopes: str) -> dict[str, str]:
    """The header of a new key."""
    return {"X-API-Key": make_key(lab, *scopes)}
