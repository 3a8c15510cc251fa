"""The key part of a record's path."""

from __future__ import annotations


def read_key_part(raw_path: bytes) -> str:
    """What an address has behind `/data/{product}/v{major}/{dataset}/records/`, still encoded."""
    return raw_path.split(b"/", 6)[6].decode("ascii", "replace")
