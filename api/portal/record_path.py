"""Addresses of records, from what an answer says of them. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote


def record_path(dataset: dict[str, Any], record: dict[str, Any]) -> str | None:
    """The last part of a record's address; None where the key is not all shown."""
    parts = [record.get(name) for name in dataset["key"]]
    if any(part is None for part in parts):
        return None
    return ",".join(quote(str(part).lower() if isinstance(part, bool) else str(part), safe="") for part in parts)
